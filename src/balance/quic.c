// SPDX-License-Identifier: Apache-2.0
/* Map "quic": server ids of backends, for services whose packets tell them (quic.bpf.h). */
#include "balance/inside.h"

#include <bpf/bpf.h>

static struct balance_quic key_of(uint32_t stat, uint32_t server)
{
	return (struct balance_quic){.service = stat, .server = server};
}

int quic_stage(struct fleet *t, const struct changes *c, struct skep_err *err)
{
	size_t i;
	uint32_t b;

	for (i = 0; i < c->n; i++) {
		const struct fleet_service *s = c->list[i].next;

		t->quic |= s && s->want->opt->quic;
		for (b = s && s->want->opt->quic ? s->n : 0; b-- > 0;) { /* listed ones last */
			struct balance_quic k =
				key_of(s->stat, config_quic_id(&s->backends[b].addr));

			if (s->backends[b].state == BALANCE_GONE)
				continue;
			if (bpf_map_update_elem(t->maps->quic, &k, &s->backends[b].id, BPF_ANY))
				return skep_fail(err, -ENOSPC, "no room for a QUIC server id");
		}
	}
	return 0;
}

void quic_forget(struct fleet *t, uint32_t id)
{
	const struct balance_backend *r = &t->maps->backends[id];
	struct config_addr a = {.family = r->family};
	struct balance_quic k;
	uint32_t found;

	if (!t->quic)
		return;
	memcpy(a.bytes, r->dst, r->family == 4 ? 4 : 16);
	k = key_of(r->stat, config_quic_id(&a));
	if (!bpf_map_lookup_elem(t->maps->quic, &k, &found) && found == id)
		bpf_map_delete_elem(t->maps->quic, &k);
}
