// SPDX-License-Identifier: Apache-2.0
#include "isa/helper.h"

enum { GPL__, GPL_G };

static const struct isa_helper helpers[ISA_HELPERS_MAX + 1] = {
#define HELPER(id, name, gpl, ret, a1, a2, a3, a4, a5) \
	[id] = {#name,                                 \
		GPL_##gpl,                             \
		ISA_RET_##ret,                         \
		{ISA_ARG_##a1, ISA_ARG_##a2, ISA_ARG_##a3, ISA_ARG_##a4, ISA_ARG_##a5}},
#include "isa/helper.def"
#undef HELPER
};

const struct isa_helper *isa_helper(int id)
{
	return id > 0 && id <= ISA_HELPERS_MAX ? &helpers[id] : NULL;
}
