// SPDX-License-Identifier: Apache-2.0
#include "balance/prober.h"

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include <uthash.h>

#include "balance/child.h"
#include "balance/tunnel.h"

struct prober {
	struct event_base *base;
	int fd;
	struct probe *probes;
	TAILQ_HEAD(, probe) waiting;
	unsigned working;
	bool nobody; /* it is: scripts may run */
	struct balance_probe *table;
};

struct probe {
	UT_hash_handle hh;
	TAILQ_ENTRY(probe) link; /* while it waits */
	struct prober *prober;
	struct prober_order order;
	struct probe_work work;
	struct event *timer; /* the next probe, or the end of patience */
	bool working, waiting;
	uint64_t begun; /* us */
};

const struct prober_order *probe_order(const struct probe *p)
{
	return &p->order;
}

struct probe_work *probe_work(struct probe *p)
{
	return &p->work;
}

struct event_base *probe_base(const struct probe *p)
{
	return p->prober->base;
}

bool probe_is_nobody(const struct probe *p)
{
	return p->prober->nobody;
}

struct balance_probe *probe_table(const struct probe *p)
{
	return p->prober->table;
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void timer_set(struct probe *p, uint64_t us)
{
	struct timeval tv = {.tv_sec = (time_t)(us / 1000000), .tv_usec = us % 1000000};

	event_add(p->timer, &tv);
}

/* A tenth more or less, so that probes of many balancers do not meet. */
static uint64_t jitter(int64_t seconds)
{
	return (uint64_t)seconds * (900000 + (uint64_t)random() % 200000);
}

/* ---- one probe ------------------------------------------------------------------------------- */

static void work_done(struct probe *p)
{
	struct probe_work *w = &p->work;

	if (w->io)
		event_free(w->io);
	if (w->bev)
		bufferevent_free(w->bev);
	if (w->pid > 0) {
		kill(-w->pid, SIGKILL);
		kill(w->pid, SIGKILL); /* its group may not be there yet */
		waitpid(w->pid, NULL, 0);
	}
	fd_close(&w->fd);
	tunnel_end(w->place);
	*w = (struct probe_work){.fd = -1};
}

static void begin(struct probe *p)
{
	static void (*const begin_by[])(struct probe *) = {
		[CONFIG_HEALTH_TCP] = probe_tcp,    [CONFIG_HEALTH_HTTP] = probe_http,
		[CONFIG_HEALTH_HTTPS] = probe_http, [CONFIG_HEALTH_DNS] = probe_dns,
		[CONFIG_HEALTH_GRPC] = probe_grpc,  [CONFIG_HEALTH_SCRIPT] = probe_script,
	};

	p->working = true;
	p->prober->working++;
	p->begun = now_us();
	timer_set(p, (uint64_t)p->order.health.timeout_s * 1000000);
	begin_by[p->order.health.type](p);
}

static void next_begin(struct prober *b)
{
	struct probe *p = TAILQ_FIRST(&b->waiting);

	if (!p || b->working >= PROBER_WORKING_MAX)
		return;
	TAILQ_REMOVE(&b->waiting, p, link);
	p->waiting = false;
	begin(p);
}

void probe_end(struct probe *p, const char *reason)
{
	struct prober_answer a = {
		.id = p->order.id, .generation = p->order.generation, .well = !reason};

	if (!p->working)
		return;
	p->working = false;
	p->prober->working--;
	a.us = (uint32_t)(now_us() - p->begun);
	snprintf(a.reason, sizeof(a.reason), "%s", reason ? reason : "");
	/* one that the agent has no room for is asked again soon enough */
	send(p->prober->fd, &a, sizeof(a), MSG_DONTWAIT | MSG_NOSIGNAL);
	work_done(p);
	timer_set(p, jitter(p->order.health.interval_s));
}

static void on_timer(evutil_socket_t fd maybe_unused, short what maybe_unused, void *arg)
{
	struct probe *p = arg;
	struct prober *b = p->prober;

	if (p->working) {
		probe_end(p, "no answer in time");
		next_begin(b);
	} else if (!p->waiting) {
		TAILQ_INSERT_TAIL(&b->waiting, p, link);
		p->waiting = true;
		next_begin(b);
	}
}

/* Places that ended probes left are taken here, outside of any probe's own callbacks. */
static void on_second(evutil_socket_t fd maybe_unused, short what maybe_unused, void *arg)
{
	struct prober *b = arg;
	unsigned n = PROBER_WORKING_MAX;

	while (n-- && !TAILQ_EMPTY(&b->waiting) && b->working < PROBER_WORKING_MAX)
		next_begin(b);
}

/* ---- orders ---------------------------------------------------------------------------------- */

static void forget(struct prober *b, struct probe *p)
{
	if (p->working) {
		b->working--;
		work_done(p);
	}
	if (p->waiting)
		TAILQ_REMOVE(&b->waiting, p, link);
	HASH_DEL(b->probes, p);
	event_free(p->timer);
	free(p);
}

static void order_take(struct prober *b, const struct prober_order *o)
{
	struct probe *p;

	HASH_FIND(hh, b->probes, &o->id, sizeof(o->id), p);
	if (p)
		forget(b, p);
	if (o->stop || o->health.type <= CONFIG_HEALTH_NONE ||
	    o->health.type > CONFIG_HEALTH_SCRIPT)
		return;
	p = calloc(1, sizeof(*p));
	if (!p)
		return;
	p->prober = b;
	p->order = *o;
	p->work.fd = -1;
	p->timer = event_new(b->base, -1, 0, on_timer, p);
	if (!p->timer) {
		free(p);
		return;
	}
	HASH_ADD(hh, b->probes, order.id, sizeof(p->order.id), p);
	timer_set(p, (uint64_t)random() % 300000);
}

static void on_order(evutil_socket_t fd, short what maybe_unused, void *arg)
{
	struct prober *b = arg;
	struct prober_order o;
	ssize_t n = recv(fd, &o, sizeof(o), MSG_DONTWAIT);

	if (n == (ssize_t)sizeof(o))
		order_take(b, &o);
	else if (!n || (n < 0 && errno != EAGAIN && errno != EINTR))
		event_base_loopbreak(b->base);
}

/* ---- the process ----------------------------------------------------------------------------- */

static void run(int fd, bool nobody, void *arg)
{
	struct prober b = {.fd = fd, .base = event_base_new(), .nobody = nobody, .table = arg};
	struct timeval often = {.tv_usec = 50000};
	struct event *orders, *second;
	unsigned seed = 1;

	TAILQ_INIT(&b.waiting);
	if (getrandom(&seed, sizeof(seed), 0) > 0)
		srandom(seed);
	if (!b.base)
		return;
	orders = event_new(b.base, fd, EV_READ | EV_PERSIST, on_order, &b);
	second = event_new(b.base, -1, EV_PERSIST, on_second, &b);
	if (!orders || !second)
		return;
	event_add(orders, NULL);
	event_add(second, &often);
	event_base_dispatch(b.base);
	/* scripts at work end with it */
	for (struct probe *p = b.probes; p; p = p->hh.next)
		work_done(p);
}

int prober_start(int *fd, struct balance_probe *table)
{
	return child_start("skep-prober", run, table, fd);
}
