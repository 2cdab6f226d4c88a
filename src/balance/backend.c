// SPDX-License-Identifier: Apache-2.0
#include "balance/backend.h"

#include <bpf/bpf.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "balance/backend.skel.h"
#include "balance/backend_tc.skel.h"
#include "host/host.h"

struct backend {
	struct backend_bpf *xdp; /* one of them */
	struct backend_tc_bpf *tc;
	struct attach link;
	struct attach_wish wish;
	char name[ATTACH_NAME], pins[512], how[320];
	uint32_t prog; /* id */
	int local;
	bool second;
};

/* ---- addresses ------------------------------------------------------------------------------- */

static void address_add(int map, const struct sockaddr *sa)
{
	const struct sockaddr_in6 *six = (const void *)sa;
	const struct sockaddr_in *four = (const void *)sa;
	uint32_t key[4] = {0}, one = 1;

	if (sa->sa_family == AF_INET)
		memcpy(key, &four->sin_addr, 4);
	else if (sa->sa_family == AF_INET6)
		memcpy(key, &six->sin6_addr, 16);
	else
		return;
	bpf_map_update_elem(map, key, &one, BPF_ANY);
}

/* Addresses that came; those that went stay until the end: the host itself refuses their packets. */
static void addresses_read(int map)
{
	struct ifaddrs *list, *i;

	if (getifaddrs(&list))
		return;
	for (i = list; i; i = i->ifa_next)
		if (i->ifa_addr)
			address_add(map, i->ifa_addr);
	freeifaddrs(list);
}

/* They wait from the first attachment on. */
static sigset_t ends_block(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return set;
}

void backend_wait(struct backend *b)
{
	struct timespec second = {.tv_sec = 1};
	sigset_t set = ends_block();

	while (sigtimedwait(&set, NULL, &second) < 0)
		addresses_read(b->local);
}

/* ---- programs -------------------------------------------------------------------------------- */

static int load_fail(int rc, const char *object, struct skep_err *err)
{
	return skep_fail(err, rc, "load %s: %s: %s", object, strerror(-rc), host_bpf_log());
}

static int load_xdp(struct backend *b, uint16_t gue_port, struct skep_err *err)
{
	int rc;

	b->xdp = backend_bpf__open();
	if (b->xdp && gue_port)
		b->xdp->rodata->gue_port = gue_port;
	rc = b->xdp ? backend_bpf__load(b->xdp) : -errno;
	if (rc)
		return load_fail(rc, "backend.bpf.o", err);
	b->local = bpf_map__fd(b->xdp->maps.local);
	b->wish.prog = bpf_program__fd(b->xdp->progs.unpack);
	return 0;
}

static int load_tc(struct backend *b, uint16_t gue_port, struct skep_err *err)
{
	int rc;

	b->tc = backend_tc_bpf__open();
	if (b->tc && gue_port)
		b->tc->rodata->gue_port = gue_port;
	rc = b->tc ? backend_tc_bpf__load(b->tc) : -errno;
	if (rc)
		return load_fail(rc, "backend_tc.bpf.o", err);
	b->local = bpf_map__fd(b->tc->maps.local);
	b->wish.prog = bpf_program__fd(b->tc->progs.unpack);
	return 0;
}

static int attach_at(struct backend *b, enum attach_hook hook, uint16_t gue_port,
		     struct skep_err *err)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);
	int rc = hook == ATTACH_TC ? load_tc(b, gue_port, err) : load_xdp(b, gue_port, err);

	if (rc)
		return rc;
	b->wish.hook = hook;
	addresses_read(b->local);
	if (!bpf_obj_get_info_by_fd(b->wish.prog, &info, &size))
		b->prog = info.id;
	return attach_open(&b->link, &b->wish, err);
}

/* ---- pins ------------------------------------------------------------------------------------ */

/* One folder a network namespace: in each there may be an eth0. */
static void pins_make(struct backend *b, const char *dir, struct skep_err *why)
{
	struct stat ns;

	if (!dir[0] || stat("/proc/self/ns/net", &ns))
		return;
	snprintf(b->pins, sizeof(b->pins), "%.400s/%lu", dir, (unsigned long)ns.st_ino);
	if (!attach_pins(b->pins, why))
		b->wish.pins = b->pins;
	else
		rmdir(b->pins);
}

/* What an earlier one left at the other hook. */
static void other_end(const struct backend *b)
{
	struct attach_wish other = b->wish;

	other.hook = b->wish.hook == ATTACH_TC ? ATTACH_XDP : ATTACH_TC;
	attach_end(&other, 0);
}

const char *backend_how_text(enum attach_how how)
{
	static const char *const text[ATTACH_HOWS] = {
		[ATTACH_NATIVE] = "XDP (native)",
		[ATTACH_GENERIC] = "XDP (generic)",
		[ATTACH_TCX] = "tc (tcx)",
		[ATTACH_FILTER] = "tc (clsact)",
	};

	return text[how];
}

static void how_tell(struct backend *b, const struct skep_err *no_xdp,
		     const struct skep_err *no_pins)
{
	int n = snprintf(b->how, sizeof(b->how), "%s: unpacks at %s", b->name,
			 backend_how_text(b->link.how));

	if (b->second)
		n += snprintf(b->how + n, sizeof(b->how) - (size_t)n, ", not at XDP: %.120s",
			      no_xdp->text);
	if (no_pins->text[0] && b->link.how != ATTACH_FILTER)
		snprintf(b->how + n, sizeof(b->how) - (size_t)n, "; ends with this process: %.120s",
			 no_pins->text);
}

int backend_open(struct backend **out, const struct backend_options *o, struct skep_err *err)
{
	static const enum attach_hook first[] = {
		[BACKEND_ANY] = ATTACH_XDP_DRIVER,
		[BACKEND_XDP] = ATTACH_XDP,
		[BACKEND_TC] = ATTACH_TC,
	};
	struct skep_err no_xdp = {""}, no_pins = {""};
	struct backend *b = calloc(1, sizeof(*b));
	int rc;

	if (!b)
		return -ENOMEM;
	host_bpf_keep();
	ends_block();
	b->link.fd = -1;
	snprintf(b->name, sizeof(b->name), "%s", o->interface);
	b->wish.name = b->name;
	pins_make(b, o->pins, &no_pins);
	rc = attach_at(b, first[o->hook], o->gue_port, o->hook == BACKEND_ANY ? &no_xdp : err);
	if (rc && rc != -ENODEV && o->hook == BACKEND_ANY) {
		b->second = true;
		rc = attach_at(b, ATTACH_TC, o->gue_port, err);
	} else if (rc) {
		skep_fail(err, rc, "%s", o->hook == BACKEND_ANY ? no_xdp.text : err->text);
	}
	if (rc) {
		backend_free(b);
		return rc;
	}
	other_end(b);
	how_tell(b, &no_xdp, &no_pins);
	*out = b;
	return 0;
}

const char *backend_how(const struct backend *b)
{
	return b->how;
}

bool backend_second(const struct backend *b)
{
	return b->second;
}

void backend_free(struct backend *b)
{
	if (!b)
		return;
	if (b->prog)
		attach_end(&b->wish, b->prog);
	if (b->wish.pins)
		rmdir(b->pins);
	attach_done(&b->link);
	backend_bpf__destroy(b->xdp);
	backend_tc_bpf__destroy(b->tc);
	free(b);
}
