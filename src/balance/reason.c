// SPDX-License-Identifier: Apache-2.0
#include "balance/reason.h"

#include "balance/balance.h"
#include "base/base.h"

static const struct {
	const char *name, *doc;
} reasons[] = {
#define REASON(id, name, doc) {name, doc},
#include "balance/reason.def"
#undef REASON
};

const char *reason_name(uint32_t reason)
{
	return reason < BALANCE_REASONS ? reasons[reason].name : "?";
}

const char *reason_doc(uint32_t reason)
{
	return reason < BALANCE_REASONS ? reasons[reason].doc : "?";
}

const char *reason_verdict(uint32_t action)
{
	static const char *const names[] = {"aborted", "drop", "pass", "tx", "redirect"};

	return action < array_size(names) ? names[action] : "?";
}
