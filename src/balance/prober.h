/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prober.h: a process that asks backends whether they are well.
 *
 *	agent: health.c --- struct prober_order --> prober: one probe after another, each with its timer
 *	          ^------- struct prober_answer ---
 *
 * It is a process of its own because the agent may open no socket and start no program once its sandbox
 * holds, and because a probe may need libraries that the agent shall not carry (TLS). It is nobody
 * (65534), with no capabilities; scripts are run only so. When the agent ends it ends.
 *
 * Probes go to the backend's own address, and tell whether the server lives; or, where the order names an
 * address of the service, to that one through the tunnel (tunnel.h), and tell whether the way does too.
 *
 * Not its business: how many failures make a backend down (health.h).
 */
#ifndef SKEP_BALANCE_PROBER_H
#define SKEP_BALANCE_PROBER_H

#include "balance/config.h"

#define PROBER_WORKING_MAX 256 /* probes at one time; the others wait */

struct prober_order {
	uint32_t id, generation;      /* of the probe; an answer names both */
	bool stop;		      /* no more of it */
	struct config_addr addr, vip; /* vip: through the tunnel; of no family: straight */
	uint16_t port;
	uint8_t mode; /* of the backend: BALANCE_IPIP ... */
	char service[CONFIG_NAME_MAX];
	struct config_health health;
};

struct prober_answer {
	uint32_t id, generation;
	bool well;
	uint32_t us;	 /* that it took */
	char reason[56]; /* of a failure */
};

struct balance_probe;

/**
 * prober_start() - fork.
 * @fd:	   a socket of packets, an order or an answer each; the prober ends when it is closed
 * @table: of the tunnel; NULL: there is none
 *
 * Return: 0 or -errno.
 */
int prober_start(int *fd, struct balance_probe *table);

/* ---- for the prober's own files -------------------------------------------------------------- */

struct event_base;
struct event;
struct bufferevent;
struct probe;

/** probe_end() - the probe at work has its answer; @reason NULL: well. */
void probe_end(struct probe *p, const char *reason);

/* What a probe needs while it is at work; all is let go by probe_end(). */
struct probe_work {
	struct bufferevent *bev;
	struct event *io; /* of fd: a socket, or a pidfd */
	int fd, pid;
	uint8_t sent_id[2];	     /* dns */
	struct balance_probe *place; /* in the tunnel's table */
};

const struct prober_order *probe_order(const struct probe *p);
struct probe_work *probe_work(struct probe *p);
struct event_base *probe_base(const struct probe *p);
bool probe_is_nobody(const struct probe *p);
struct balance_probe *probe_table(const struct probe *p);

/* Each begins one; failures before it could begin end it at once. */
void probe_tcp(struct probe *p);
void probe_http(struct probe *p);
void probe_grpc(struct probe *p);
void probe_dns(struct probe *p);
void probe_script(struct probe *p);

/* What of an answer is enough. Return: 1 well, 0 more is needed, -1 and a reason. */
int probe_http_read(const char *p, size_t n, int64_t want, const char **reason);
int probe_grpc_read(const uint8_t *p, size_t n, const char **reason);
int probe_dns_read(const uint8_t *p, size_t n, const uint8_t id[2], const char **reason);

#endif
