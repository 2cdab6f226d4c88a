// SPDX-License-Identifier: Apache-2.0
#include "cli/verb.h"

const struct verb *const verb_all[] = {
#define VERB(name) &verb_##name,
#include "cli/verb.def"
#undef VERB
	NULL,
};

#define VERB(name) "|" #name
const char verb_names_barred[] =
#include "cli/verb.def"
	;
#undef VERB

const struct verb *verb_find(const char *name)
{
	const struct verb *v;

	verb_each(v) if (!strcmp(v->name, name)) return v;
	return NULL;
}
