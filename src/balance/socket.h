/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket.h: services at the sockets of a cgroup: socket.bpf.o loaded on the tables of balance.bpf.o and
 * attached, and what stands in its own tables.
 *
 * Not its business: which backend a service has (fleet.h), ending sockets (reap.h).
 */
#ifndef SKEP_BALANCE_SOCKET_H
#define SKEP_BALANCE_SOCKET_H

#include "balance/fleet.h"
#include "cap/cap.h"

struct sockets;

/**
 * sockets_open() - load. Nothing is attached yet.
 * @maps: where the tables are; its doors are set
 * @pins: as of maps_open(); what is found pinned there goes on, with this program
 *
 * Return: 0 or -errno.
 */
int sockets_open(struct sockets **out, struct maps *maps, const char *pins, struct skep_err *err);
void sockets_free(struct sockets *s);

/**
 * sockets_attach() - to a cgroup: all hooks, or none that was not there before.
 * @cgroup: path of its folder
 *
 * A link that is found pinned gets the new program in one step; one of another cgroup is replaced.
 */
int sockets_attach(struct sockets *s, const char *cgroup, struct skep_err *err);

/** sockets_forget() - unpin what an earlier agent left: detaches it. */
void sockets_forget(const char *pins);

/** sockets_map() - fd of a map of the object, for those who read along; -1: no such map. */
int sockets_map(const struct sockets *s, const char *name);

/** sockets_show() - a backend's members of a JSON object, from a comma on. */
void sockets_show(const struct sockets *s, uint32_t backend, struct buf *out);
/** sockets_count() - metrics of one service. */
void sockets_count(const struct sockets *s, const struct fleet_service *f, cap_count_fn fn,
		   void *arg);
/** sockets_refused() - of the service that counts at @stat: there was no backend. */
uint64_t sockets_refused(const struct sockets *s, uint32_t stat);

/* For fleet.c; nothing happens in these where no socket is served. */
/** sockets_door() - of a service that no VIP leads to yet. */
void sockets_door(struct fleet *t, const struct fleet_service *s);
/** sockets_end() - of a backend; @fresh: the index was given to it just now. */
void sockets_end(struct fleet *t, uint32_t backend, const struct config_backend *w, bool fresh);
/** sockets_ends() - of a service's backends, as they are wanted, after the commit. */
void sockets_ends(struct fleet *t, const struct fleet_service *s);
/** sockets_hold() - node ports are taken: no process of the cgroup may bind to one. */
void sockets_hold(struct fleet *t);
/** sockets_same() - whether backend @i of @want is on the node that it was on. */
bool sockets_same(const struct fleet_service *s, const struct config_service *want, uint32_t i);

#endif
