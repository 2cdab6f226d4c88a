/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.h: the resources of kind Service, read and checked: the whole wanted state of the balancer.
 */
#ifndef SKEP_BALANCE_CONFIG_H
#define SKEP_BALANCE_CONFIG_H

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"

#define CONFIG_VIPS_MAX	    256
#define CONFIG_BACKENDS_MAX 4096
#define CONFIG_WEIGHT_MAX   1000
#define CONFIG_NODE_MAX	    16 /* addresses of this host */
#define CONFIG_SOURCES_MAX  32
#define CONFIG_LIMIT_MAX    1000000 /* a second */
#define CONFIG_NAME_MAX	    208	    /* NAMESPACE/NAME:PORT/v6 of Kubernetes, 63 bytes each */

struct config_addr {
	uint8_t family; /* 4 or 6, 0: none */
	uint8_t bytes[16];
};

struct config_cidr {
	struct config_addr addr; /* bits behind @bits are 0 */
	uint8_t bits;
};

struct config_vip {
	struct config_addr addr;
	uint8_t proto;	      /* IPPROTO_TCP or IPPROTO_UDP */
	uint16_t first, last; /* ports; 0..65535: all */
};

struct config_backend {
	struct config_addr addr;
	int64_t weight; /* 0: keeps its flows, gets none */
	int mode;	/* BALANCE_IPIP ... */
	int64_t port;	/* modes that translate; 0: the one that the client spoke to */
	bool local;	/* stands on this node */
};

enum config_algorithm { CONFIG_MAGLEV, CONFIG_LEAST_CONNECTIONS, CONFIG_LEAST_LOAD };

enum config_policy { CONFIG_CLUSTER, CONFIG_LOCAL };

enum config_health_type {
	CONFIG_HEALTH_NONE,
	CONFIG_HEALTH_TCP,
	CONFIG_HEALTH_HTTP,
	CONFIG_HEALTH_HTTPS,
	CONFIG_HEALTH_DNS,
	CONFIG_HEALTH_GRPC,
	CONFIG_HEALTH_SCRIPT,
};

struct config_health {
	int type; /* enum config_health_type */
	int via;  /* 0: straight, 1: through the tunnel */
	int64_t port, status, interval_s, timeout_s, rise, fall, panic;
	int64_t passive,
		passive_s; /* percent of SYNs not answered, 0: no; how long it is ejected */
	char path[128], host[64], name[64], command[128];
};

/*
 * What a service has besides addresses and backends: what the table in fields.c fills in place. Two
 * that are alike are alike in every byte; a key needs a member here and a row there, no more.
 */
struct config_options {
	int mode;	 /* BALANCE_IPIP ... */
	int hash;	 /* 0: flow, 1: source */
	int algorithm;	 /* enum config_algorithm */
	int64_t drain_s; /* a backend that is no longer listed keeps its flows for so long */
	int64_t slow_start_s;
	struct config_health health;
	bool socket;	    /* served at this host's sockets too */
	int internal;	    /* enum config_policy, at sockets */
	bool quic;	    /* UDP: connection ids name backends */
	int64_t affinity_s; /* a client stays with its backend for so long; 0: no */
	uint32_t n_sources; /* who may send; 0: everybody */
	struct config_cidr sources[CONFIG_SOURCES_MAX];
	int64_t limit_source, limit_service; /* new flows a second; 0: any number */
	int64_t node_port;		     /* at the host's addresses; 0: none */
	int external;			     /* enum config_policy, at XDP */
	int64_t health_port;		 /* tells at node addresses whether external finds one */
	uint8_t node_proto, node_family; /* of node_port, where no vips tell; 0: as vips have it */
	bool cookies;			 /* SYNs of unknown sources are challenged */
	int64_t cookie_rate;		 /* only those above so many a second; 0: all */
};

/*
 * Not changed once it is read, and shared by all who hold it. Services that are alike share their options:
 * of ten thousand there are few kinds.
 */
struct config_service {
	uint32_t refs;
	uint32_t n_vips, n_backends;
	struct config_vip *vips;
	struct config_backend *backends;
	const struct config_options *opt;
	uint64_t digest; /* of all this; 0: not known */
	bool kube;	 /* of a Service of Kubernetes, which has one for each port */
	char name[];	 /* shorter than CONFIG_NAME_MAX */
};

struct config_set {
	struct config_service **services;
	size_t n, room;
};

/**
 * config_read() - all documents of a file.
 * @file:  name, for messages
 * @set:   filled only on success; config_done() frees it
 * @notes: what was left out and why, a line each; may be NULL
 *
 * Return: 0, -ENOMEM or -EINVAL with file, line and column. Two services of one name, one address,
 * protocol and port in two services, and a backend listed twice are mistakes.
 */
int config_read(const char *file, const char *text, size_t len, struct config_set *set,
		struct buf *notes, struct skep_err *err);
void config_done(struct config_set *set);

/**
 * config_service_new() - without addresses or backends.
 * @o:    copied, with its padding
 * @like: a service whose options are shared where they are the same; NULL: none
 *
 * Return: NULL where there is no memory.
 */
struct config_service *config_service_new(const char *name, const struct config_options *o,
					  const struct config_service *like);
/** config_service_hold() - one more who holds it. */
struct config_service *config_service_hold(struct config_service *s);
/** config_service_drop() - one less. NULL is fine. */
void config_service_drop(struct config_service *s);

/** config_vip_of() - the first address of a family; NULL: none. */
const struct config_addr *config_vip_of(const struct config_service *s, uint8_t family);

/** config_room() - for @more services. Return: 0 or -ENOMEM. */
int config_room(struct config_set *set, size_t more);

/**
 * config_check() - that no two services claim an address, protocol and port.
 * @with: those of @set that may; NULL: any
 */
int config_check(const struct config_set *set, const struct config_set *with, struct skep_err *err);

/** config_diff() - lines with what differs between two of a name. */
void config_diff(const struct config_service *from, const struct config_service *to, struct buf *b);
/** config_rehashed() - whether a flow's slot is chosen otherwise: live ones without an entry may move. */
bool config_rehashed(const struct config_service *from, const struct config_service *to);

/* As they stand in YAML; @out of at least 64 bytes. */
const char *config_addr_text(const struct config_addr *a, char *out);
const char *config_vip_text(const struct config_vip *v, char *out);

/** config_mode_text() - of BALANCE_IPIP ..., as in YAML. */
const char *config_mode_text(int mode);

/**
 * config_quic_id() - what a backend's connection ids have behind their first byte, in network order:
 * its IPv4 address, or a hash of its IPv6 address.
 */
uint32_t config_quic_id(const struct config_addr *a);

/** config_addr_read() - an address in text. Return: false where it is none. */
bool config_addr_read(const char *s, size_t n, struct config_addr *out);

/** config_cidr_read() - ADDRESS/BITS, or an address alone. */
bool config_cidr_read(const char *s, size_t n, struct config_cidr *out);

/** config_node_set() - the host's addresses, for what is read from then on. */
void config_node_set(const struct config_addr *list, uint32_t n);
bool config_node_is(const struct config_addr *a);

/** config_sockets_set() - whether this host serves sockets: services of Kubernetes are for them too then. */
void config_sockets_set(bool on);
bool config_sockets(void);

/** config_packets_set() - whether packets pass here: what is for them alone is noted where they do not. */
void config_packets_set(bool on);
bool config_packets(void);

/** config_reference() - the reference of kind Service. */
void config_reference(struct buf *b);

#endif
