// SPDX-License-Identifier: Apache-2.0
#include "balance/happened.h"

#include <time.h>

#include "store/store.h"

enum column {
#define COLUMN(id, name, type, doc) COL_##id,
#include "balance/backend.def"
#undef COLUMN
	COLUMNS
};

static const struct store_column columns[] = {
#define COLUMN(id, col, kind, text) {#col, STORE_##kind, text},
#include "balance/backend.def"
#undef COLUMN
};

static const struct store_def def = {
	.name = "backend",
	.doc = "backends of the load balancer that went up or down",
	.columns = columns,
	.n_columns = COLUMNS,
};

int happened_open(struct store_table **out, const struct cap_env *env, struct skep_err *err)
{
	return env->store ? store_table_add(env->store, &def, 1 << 20, out, err) : 0;
}

void happened_backend(struct store_table *t, const struct cap_env *env, const char *service,
		      const struct config_addr *backend, bool up, const char *reason)
{
	struct store_cell cells[COLUMNS] = {0};
	struct timespec now;
	uint64_t row = 0;
	char addr[64];

	if (!t)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	cells[COL_TIME] = STORE_NUM(now.tv_sec * INT64_C(1000000000) + now.tv_nsec);
	cells[COL_SERVICE] = STORE_STRZ(service);
	cells[COL_BACKEND] = STORE_STRZ(config_addr_text(backend, addr));
	cells[COL_STATE] = STORE_STRZ(up ? "up" : "down");
	cells[COL_REASON] = STORE_STRZ(up ? NULL : reason);
	store_append(t, cells, &row);
	if (env->emit)
		env->emit(env->emit_arg, "balance.backend", t, &row);
	store_close(t, &row);
}
