// SPDX-License-Identifier: Apache-2.0
/*
 * port.c: the ports of an engine, in one thread.
 *
 *	round: each port: receive a batch -> vm_port_receive -> frames nobody took back to the pool
 *	       each port: flush
 *	nothing came in a whole round: poll
 *
 * H1  Frames are the pool's, a receiving port's, or a sending port's until they left; a port holds at
 *     most ops->frames of them, and the pool has as many as all ports may hold, so nobody starves.
 * H2  A round allocates nothing.
 */
#include "host/port.h"

#include <net/if.h>
#include <poll.h>
#include <time.h>

#include "host/port_inside.h"

#define FIRST_UNREAL 1000000U /* ifindex of captures: above what a kernel gives */
#define IDLE_MS	     100

struct ports {
	struct skep_engine *engine;
	struct pool pool;
	struct port ports[PORT_MAX];
	struct port stacks[PORT_MAX]; /* of ports[i], where its spec names one */
	unsigned n;
	struct vm_frame frames[VM_PORT_BATCH];
};

static const struct port_ops *const kinds[] = {
	[PORT_PCAP] = &port_pcap_ops,
	[PORT_PACKET] = &port_packet_ops,
	[PORT_XDP] = &port_xdp_ops,
	[PORT_TAP] = &port_tap_ops,
};

/* ---- what every kind needs --------------------------------------------------------------------- */

int port_device(struct port *p, struct skep_err *err)
{
	p->device = if_nametoindex(p->spec.device);
	if (!p->device)
		return skep_fail(err, -ENODEV, "there is no interface %s here", p->spec.device);
	return 0;
}

bool port_copy(struct port *p, const struct vm_frame *from, struct vm_frame *to)
{
	uint8_t *buf = port_pool_take(p->pool);

	if (!buf)
		return false;
	*to = (struct vm_frame){.buf = buf, .start = from->start, .len = from->len};
	memcpy(buf + from->start, from->buf + from->start, from->len);
	return true;
}

int port_xdp_shared(const struct ports *all)
{
	unsigned i;

	for (i = 0; i < all->n; i++)
		if (all->ports[i].spec.kind == PORT_XDP && all->ports[i].mode)
			return all->ports[i].fd;
	return -1;
}

static struct port *port_of(struct vm_port *p)
{
	return container_of(p, struct port, vm);
}

static int port_send(struct vm_port *vm, struct vm_frame *f, bool keep)
{
	struct port *p = port_of(vm);

	return p->ops->send(p, f, keep);
}

static int port_pass(struct vm_port *vm, struct vm_frame *f)
{
	struct port *stack = port_of(vm)->stack;

	return stack ? stack->ops->send(stack, f, false) : -EOPNOTSUPP;
}

static void flush(struct ports *all)
{
	unsigned i;

	for (i = 0; i < all->n; i++)
		if (all->ports[i].ops->flush)
			all->ports[i].ops->flush(&all->ports[i]);
}

static unsigned port_lend(struct vm_port *vm, struct vm_frame *frames, unsigned n)
{
	struct pool *pool = port_of(vm)->pool;
	unsigned i;

	for (i = 0; i < n && pool->n_free; i++)
		frames[i] = (struct vm_frame){.buf = port_pool_take(pool)};
	return i;
}

static void give_back(struct port *p, const struct vm_frame *frames, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		if (!frames[i].taken)
			port_pool_give(p->pool, frames[i].buf);
}

static void port_settle(struct vm_port *vm, const struct vm_frame *frames, unsigned n)
{
	give_back(port_of(vm), frames, n);
	flush(port_of(vm)->all);
}

static const struct vm_port_ops to_port = {port_send, port_pass, port_lend, port_settle};

/* ---- opening ----------------------------------------------------------------------------------- */

static uint32_t ifindex_of(const struct ports *all, const struct port *p)
{
	uint32_t named = if_nametoindex(p->spec.name);

	if (named || p->device)
		return named ? named : p->device;
	return FIRST_UNREAL + (uint32_t)(p - all->ports);
}

static int open_stack(struct ports *all, struct port *p, struct skep_err *err)
{
	struct port *stack = &all->stacks[p - all->ports];

	if (p->spec.kind == PORT_PCAP || !p->spec.second[0])
		return 0;
	stack->spec.kind = PORT_TAP;
	memcpy(stack->spec.device, p->spec.second, sizeof(stack->spec.device));
	stack->ops = &port_tap_ops;
	p->stack = stack;
	return stack->ops->open(stack, err);
}

static int open_one(struct ports *all, struct port *p, struct skep_err *err)
{
	int rc = p->ops->open(p, err);

	if (!rc)
		rc = open_stack(all, p, err);
	if (rc)
		return skep_note(err, rc, "port %s", p->spec.name);
	p->vm.ops = &to_port;
	p->vm.ifindex = ifindex_of(all, p);
	p->vm.queue = p->spec.queue;
	rc = vm_port_add(all->engine, &p->vm);
	return rc ? skep_fail(err, rc, "port %s: another port has its ifindex %u", p->spec.name,
			      p->vm.ifindex)
		  : 0;
}

static void place(struct ports *all, struct port *p)
{
	p->all = all;
	p->pool = &all->pool;
	p->fd = -1;
}

static int read_specs(struct ports *all, const char *const *specs, unsigned n, struct skep_err *err)
{
	uint32_t frames = VM_PORT_BATCH * (n + 1);
	unsigned i;
	int rc;

	if (n > PORT_MAX)
		return skep_fail(err, -E2BIG, "more than %u ports", PORT_MAX);
	for (i = 0; i < n; i++) {
		place(all, &all->ports[i]);
		place(all, &all->stacks[i]);
		rc = port_parse(&all->ports[i].spec, specs[i], err);
		if (rc)
			return rc;
		all->ports[i].ops = kinds[all->ports[i].spec.kind];
		frames += all->ports[i].ops->frames;
		all->n = i + 1;
	}
	rc = port_pool_open(&all->pool, frames);
	return rc ? skep_fail(err, rc, "no memory for %u frames below 4 GiB", frames) : 0;
}

int ports_open(struct ports **out, struct skep_engine *engine, const char *const *specs, unsigned n,
	       struct skep_err *err)
{
	struct ports *all = calloc(1, sizeof(*all));
	unsigned i;
	int rc;

	if (!all)
		return -ENOMEM;
	all->engine = engine;
	rc = read_specs(all, specs, n, err);
	for (i = 0; !rc && i < n; i++)
		rc = open_one(all, &all->ports[i], err);
	if (rc)
		ports_free(all);
	else
		*out = all;
	return rc;
}

static void close_one(struct port *p)
{
	if (!p->ops)
		return;
	vm_port_remove(&p->vm);
	p->ops->close(p);
}

void ports_free(struct ports *all)
{
	unsigned i;

	if (!all)
		return;
	for (i = 0; i < all->n; i++) {
		close_one(&all->ports[i]);
		close_one(&all->stacks[i]);
	}
	port_pool_done(&all->pool);
	free(all);
}

/* ---- moving frames ------------------------------------------------------------------------------ */

/* What the kernel's stack sends into the TAP leaves by the port. */
static int from_stack(struct port *p, struct vm_frame *frames, struct skep_err *err)
{
	int n = p->stack->ops->receive(p->stack, frames, err), i;

	for (i = 0; i < n; i++)
		vm_port_leave(&p->vm, &frames[i]);
	if (n > 0)
		give_back(p, frames, (unsigned)n);
	return n;
}

/* Return: frames that came, -ENODATA at the end, other -errno. */
static int turn(struct port *p, struct vm_frame *frames, struct skep_err *err)
{
	int n = p->ended ? -ENODATA : p->ops->receive(p, frames, err), more = 0;

	if (n > 0) {
		vm_port_receive(&p->vm, frames, (unsigned)n);
		give_back(p, frames, (unsigned)n);
	}
	p->ended = n == -ENODATA;
	if (p->stack)
		more = from_stack(p, frames, err);
	return n >= 0 && more > 0 ? n + more : n;
}

/* *alive: some port may bring more. Return: frames that came. */
static int turns(struct ports *all, bool *alive, struct skep_err *err)
{
	int came = 0, n;
	unsigned i;

	*alive = false;
	for (i = 0; i < all->n; i++) {
		n = turn(&all->ports[i], all->frames, err);
		if (n < 0 && n != -ENODATA)
			return skep_note(err, n, "port %s", all->ports[i].spec.name);
		*alive |= n >= 0;
		came += max(n, 0);
	}
	flush(all);
	return came;
}

static int round_of(struct ports *all, bool *alive, struct skep_err *err)
{
	int came;

	vm_ports_begin(all->engine);
	came = turns(all, alive, err);
	vm_ports_end(all->engine);
	return came;
}

static bool over(uint64_t until)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return until && (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000 >= until;
}

static uint64_t until_of(unsigned seconds)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return seconds ? ((uint64_t)t.tv_sec + seconds) * 1000 + (uint64_t)t.tv_nsec / 1000000 : 0;
}

/* Waits for frames; true when @stop came. */
static bool rest(const struct ports *all, int stop, int ms)
{
	struct pollfd fds[2 * PORT_MAX + 1] = {{.fd = stop, .events = POLLIN}};
	unsigned n = 1, i;

	for (i = 0; i < all->n; i++) {
		if (!all->ports[i].ended)
			fds[n++] = (struct pollfd){.fd = all->ports[i].fd, .events = POLLIN};
		if (all->ports[i].stack)
			fds[n++] = (struct pollfd){.fd = all->ports[i].stack->fd, .events = POLLIN};
	}
	poll(fds, n, ms);
	return fds[0].revents != 0;
}

static int finish(struct ports *all, struct skep_err *err)
{
	struct port *p;
	unsigned i;
	int rc = 0;

	vm_ports_begin(all->engine);
	for (i = 0; !rc && i < all->n; i++) {
		p = &all->ports[i];
		rc = p->ops->finish ? p->ops->finish(p) : 0;
		if (rc)
			skep_fail(err, rc, "port %s: %s: %s", p->spec.name, p->spec.second,
				  strerror(-rc));
	}
	vm_ports_end(all->engine);
	return rc;
}

int ports_run(struct ports *all, int stop, unsigned seconds, struct skep_err *err)
{
	uint64_t until = until_of(seconds == PORTS_STAY ? 0 : seconds);
	unsigned busy = 0;
	bool alive = true, stopped = false, stay = seconds == PORTS_STAY;
	int came;

	while ((alive || stay) && !stopped) {
		came = round_of(all, &alive, err);
		if (came < 0)
			return came;
		busy = came ? busy + 1 : 0;
		if (!came && (alive || stay))
			stopped = rest(all, stop, IDLE_MS) || over(until);
		else if (busy % VM_PORT_BATCH == 0)
			stopped = rest(all, stop, 0) || over(until);
	}
	return finish(all, err);
}

bool ports_view(struct ports *all, unsigned i, struct port_view *out)
{
	const struct port *p;

	if (i >= all->n)
		return false;
	p = &all->ports[i];
	*out = (struct port_view){
		.name = p->spec.name,
		.device = p->spec.device,
		.mode = p->mode,
		.ifindex = p->vm.ifindex,
		.count = &p->vm.count,
		.lost = p->ops->lost ? p->ops->lost(&all->ports[i]) : 0,
	};
	return true;
}
