// SPDX-License-Identifier: Apache-2.0
/* probe.c: one probe of each kind, on the prober's loop; see prober.h. */
#include "balance/prober.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "balance/tunnel.h"
#include "base/buf.h"

#define ANSWER_MAX 16384

static socklen_t address(const struct prober_order *o, struct sockaddr_storage *sa)
{
	struct sockaddr_in6 *six = (void *)sa;
	struct sockaddr_in *four = (void *)sa;

	memset(sa, 0, sizeof(*sa));
	if (o->addr.family == 6) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(o->port);
		memcpy(&six->sin6_addr, o->addr.bytes, 16);
		return sizeof(*six);
	}
	four->sin_family = AF_INET;
	four->sin_port = htons(o->port);
	memcpy(&four->sin_addr, o->addr.bytes, 4);
	return sizeof(*four);
}

/* A socket of its own where it goes through the tunnel; else -1. Return: false, and the probe has ended. */
static bool tunnel_begin(struct probe *p, uint8_t proto, int *fd)
{
	const struct prober_order *o = probe_order(p);
	struct tunnel_way way = {
		.backend = &o->addr,
		.vip = &o->vip,
		.port = o->port,
		.mode = o->mode,
		.proto = proto,
		.ns = (uint64_t)o->health.timeout_s * 1000000000,
	};

	*fd = -1;
	if (!o->vip.family)
		return true;
	*fd = probe_table(p) ? tunnel_socket(probe_table(p), &way, &probe_work(p)->place) : -ENODEV;
	if (*fd < 0)
		probe_end(p, strerror(-*fd));
	return *fd >= 0;
}

/* ---- streams --------------------------------------------------------------------------------- */

static int stream_read(struct probe *p, const char **reason)
{
	struct evbuffer *in = bufferevent_get_input(probe_work(p)->bev);
	const struct config_health *h = &probe_order(p)->health;
	size_t n = min(evbuffer_get_length(in), (size_t)ANSWER_MAX);
	const void *data = n ? (const void *)evbuffer_pullup(in, (ssize_t)n) : "";
	int rc;

	rc = h->type == CONFIG_HEALTH_GRPC ? probe_grpc_read(data, n, reason)
					   : probe_http_read(data, n, h->status, reason);
	if (!rc && n == ANSWER_MAX) {
		*reason = "the answer is too long";
		return -1;
	}
	return rc;
}

static void on_read(struct bufferevent *bev maybe_unused, void *arg)
{
	const char *reason = NULL;
	struct probe *p = arg;
	int rc = stream_read(p, &reason);

	if (rc)
		probe_end(p, rc > 0 ? NULL : reason);
}

static void on_event(struct bufferevent *bev maybe_unused, short what, void *arg)
{
	const char *reason = "the connection was closed before an answer";
	int error = EVUTIL_SOCKET_ERROR();
	struct probe *p = arg;
	int rc;

	if (what & BEV_EVENT_CONNECTED) {
		if (probe_order(p)->health.type == CONFIG_HEALTH_TCP)
			probe_end(p, NULL);
		return;
	}
	if (what & BEV_EVENT_ERROR) {
		probe_end(p, error ? strerror(error) : "TLS failed");
		return;
	}
	rc = stream_read(p, &reason);
	probe_end(p, rc > 0 ? NULL : reason);
}

/* @fd: a socket of the tunnel, or -1. TLS begins as soon as it is given one. */
static int stream_connect(struct probe *p, int fd, struct sockaddr *sa, socklen_t len)
{
	struct bufferevent *bev = probe_work(p)->bev;

	if (fd < 0)
		return bufferevent_socket_connect(bev, sa, (int)len);
	if (connect(fd, sa, len) && errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	if (bufferevent_setfd(bev, fd) || probe_order(p)->health.type == CONFIG_HEALTH_HTTPS)
		return 0;
	return bufferevent_socket_connect(bev, NULL, 0);
}

static void stream(struct probe *p, struct bufferevent *bev, const void *request, size_t n)
{
	struct sockaddr_storage sa;
	socklen_t len = address(probe_order(p), &sa);
	int fd;

	probe_work(p)->bev = bev;
	if (!bev) {
		probe_end(p, "no memory");
		return;
	}
	if (!tunnel_begin(p, IPPROTO_TCP, &fd))
		return;
	bufferevent_setcb(bev, on_read, NULL, on_event, p);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
	if (n)
		bufferevent_write(bev, request, n);
	if (stream_connect(p, fd, (struct sockaddr *)&sa, len))
		probe_end(p, "cannot connect");
}

static struct bufferevent *plain(const struct probe *p)
{
	return bufferevent_socket_new(probe_base(p), -1, BEV_OPT_CLOSE_ON_FREE);
}

void probe_tcp(struct probe *p)
{
	stream(p, plain(p), NULL, 0);
}

/* ---- TLS, looked up when it is first needed -------------------------------------------------- */

/* Of OpenSSL and libevent's half for it; what they are made of is not our business. */
struct tls {
	void *context;
	void *(*ssl_new)(void *ctx);
	long (*ssl_ctrl)(void *ssl, int cmd, long larg, void *parg);
	struct bufferevent *(*socket_new)(struct event_base *base, evutil_socket_t fd, void *ssl,
					  int state, int options);
};

#define TLS_CONNECTING	 1  /* BUFFEREVENT_SSL_CONNECTING */
#define TLS_CTRL_NAME	 55 /* SSL_CTRL_SET_TLSEXT_HOSTNAME */
#define TLS_NAME_IS_HOST 0

static struct tls *tls_get(void)
{
	static struct tls t;
	void *(*method)(void), *(*context)(const void *);
	void *ssl, *half;

	if (t.context)
		return &t;
	ssl = dlopen("libssl.so.3", RTLD_NOW | RTLD_GLOBAL);
	half = ssl ? dlopen("libevent_openssl-2.1.so.7", RTLD_NOW) : NULL;
	if (!half)
		return NULL;
	*(void **)&method = dlsym(ssl, "TLS_client_method");
	*(void **)&context = dlsym(ssl, "SSL_CTX_new");
	*(void **)&t.ssl_new = dlsym(ssl, "SSL_new");
	*(void **)&t.ssl_ctrl = dlsym(ssl, "SSL_ctrl");
	*(void **)&t.socket_new = dlsym(half, "bufferevent_openssl_socket_new");
	if (method && context && t.ssl_new && t.ssl_ctrl && t.socket_new)
		t.context = context(method());
	return t.context ? &t : NULL;
}

/* Whoever has the backend's address is asked: its certificate is not checked. */
static struct bufferevent *secured(const struct probe *p)
{
	const struct config_health *h = &probe_order(p)->health;
	struct tls *t = tls_get();
	void *ssl = t ? t->ssl_new(t->context) : NULL;

	if (!ssl)
		return NULL;
	if (h->host[0])
		t->ssl_ctrl(ssl, TLS_CTRL_NAME, TLS_NAME_IS_HOST, (void *)h->host);
	return t->socket_new(probe_base(p), -1, ssl, TLS_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
}

/* ---- HTTP ------------------------------------------------------------------------------------ */

void probe_http(struct probe *p)
{
	const struct prober_order *o = probe_order(p);
	cleanup(buf_done) struct buf b = {0};
	char addr[64], host[80];

	config_addr_text(o->vip.family ? &o->vip : &o->addr, addr);
	snprintf(host, sizeof(host), o->addr.family == 6 ? "[%s]" : "%s", addr);
	buf_fmt(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: skep\r\nConnection: close\r\n\r\n",
		o->health.path[0] ? o->health.path : "/",
		o->health.host[0] ? o->health.host : host);
	if (!buf_ok(&b)) {
		probe_end(p, "no memory");
		return;
	}
	if (o->health.type == CONFIG_HEALTH_HTTPS && !tls_get()) {
		probe_end(p, "libssl.so.3 or libevent_openssl-2.1.so.7 is missing");
		return;
	}
	stream(p, o->health.type == CONFIG_HEALTH_HTTPS ? secured(p) : plain(p), b.data, b.len);
}

int probe_http_read(const char *p, size_t n, int64_t want, const char **reason)
{
	static char text[40];
	int status;

	if (n < 12)
		return 0;
	*reason = "the answer is no HTTP";
	if (memcmp(p, "HTTP/1.", 7) || p[8] != ' ')
		return -1;
	for (status = 0, n = 9; n < 12; n++) {
		if (p[n] < '0' || p[n] > '9')
			return -1;
		status = status * 10 + p[n] - '0';
	}
	if (want ? status == want : status >= 200 && status < 400)
		return 1;
	snprintf(text, sizeof(text), "the answer has status %d", status);
	*reason = text;
	return -1;
}

/* ---- DNS ------------------------------------------------------------------------------------- */

/* A question for an address (A). Return: its length, 0 where the name is none. */
static size_t dns_question(const char *name, const uint8_t id[2], uint8_t *out)
{
	static const uint8_t head[] = {1, 0, 0, 1, 0, 0, 0, 0, 0, 0}; /* recursion wished, one */
	static const uint8_t address_in[] = {0, 0, 1, 0, 1};	      /* the root's end, A, IN */
	size_t at = 12, n;

	memcpy(out, id, 2);
	memcpy(out + 2, head, sizeof(head));
	for (; *name; name += n + (name[n] == '.')) {
		n = strcspn(name, ".");
		if (!n || n > 63)
			return 0;
		out[at++] = (uint8_t)n;
		memcpy(out + at, name, n);
		at += n;
	}
	memcpy(out + at, address_in, sizeof(address_in));
	return at + sizeof(address_in);
}

int probe_dns_read(const uint8_t *p, size_t n, const uint8_t id[2], const char **reason)
{
	if (n < 12 || memcmp(p, id, 2) || !(p[2] & 0x80))
		return 0;
	*reason = "the server refuses or fails (rcode is not 0)";
	return p[3] & 15 ? -1 : 1;
}

static void on_datagram(evutil_socket_t fd, short what maybe_unused, void *arg)
{
	const char *reason = NULL;
	struct probe *p = arg;
	uint8_t answer[512];
	ssize_t n = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
	int rc;

	if (n < 0 && errno != EAGAIN) {
		probe_end(p, strerror(errno));
		return;
	}
	rc = n > 0 ? probe_dns_read(answer, (size_t)n, probe_work(p)->sent_id, &reason) : 0;
	if (rc)
		probe_end(p, rc > 0 ? NULL : reason);
}

void probe_dns(struct probe *p)
{
	const struct prober_order *o = probe_order(p);
	struct probe_work *w = probe_work(p);
	struct sockaddr_storage sa;
	socklen_t len = address(o, &sa);
	uint8_t question[512];
	size_t n;

	if (getrandom(w->sent_id, 2, 0) != 2)
		w->sent_id[0] = 1;
	n = dns_question(o->health.name, w->sent_id, question);
	if (!tunnel_begin(p, IPPROTO_UDP, &w->fd))
		return;
	if (w->fd < 0)
		w->fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (!n || w->fd < 0 || connect(w->fd, (struct sockaddr *)&sa, len) ||
	    send(w->fd, question, n, 0) < 0) {
		probe_end(p, n ? strerror(errno) : "the name is none");
		return;
	}
	w->io = event_new(probe_base(p), w->fd, EV_READ | EV_PERSIST, on_datagram, p);
	if (!w->io || event_add(w->io, NULL))
		probe_end(p, "no memory");
}

/* ---- gRPC ------------------------------------------------------------------------------------ */

/* HTTP/2 frames (RFC 9113): length 24, type 8, flags 8, stream 32. */
static void frame_add(struct buf *b, uint8_t type, uint8_t flags, uint8_t stream_id,
		      const void *data, size_t n)
{
	const char head[9] = {
		(char)(n >> 16), (char)(n >> 8), (char)n, (char)type, (char)flags, 0, 0, 0,
		(char)stream_id};

	buf_add(b, head, sizeof(head));
	buf_add(b, data, n);
}

/* HPACK (RFC 7541): a literal without indexing, neither name nor value compressed. */
static void header_add(struct buf *b, const char *name, const char *value)
{
	buf_chr(b, 0);
	buf_chr(b, (char)strlen(name));
	buf_str(b, name);
	buf_chr(b, (char)strlen(value));
	buf_str(b, value);
}

/* grpc.health.v1.Health/Check: HealthCheckRequest { string service = 1; } */
void probe_grpc(struct probe *p)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	const struct config_health *h = &probe_order(p)->health;
	cleanup(buf_done) struct buf b = {0}, headers = {0}, data = {0};
	size_t n = strlen(h->name), size = n ? n + 2 : 0;
	const char prefix[5] = {0, 0, 0, 0, (char)size};

	header_add(&headers, ":method", "POST");
	header_add(&headers, ":scheme", "http");
	header_add(&headers, ":path", "/grpc.health.v1.Health/Check");
	header_add(&headers, ":authority", h->host[0] ? h->host : "skep");
	header_add(&headers, "content-type", "application/grpc");
	header_add(&headers, "te", "trailers");
	buf_add(&data, prefix, sizeof(prefix));
	if (n) {
		buf_chr(&data, 0x0a);
		buf_chr(&data, (char)n);
		buf_str(&data, h->name);
	}
	buf_add(&b, preface, sizeof(preface) - 1);
	frame_add(&b, 4, 0, 0, NULL, 0);
	frame_add(&b, 1, 4, 1, headers.data, headers.len);
	frame_add(&b, 0, 1, 1, data.data, data.len);
	if (buf_ok(&b) && buf_ok(&headers) && buf_ok(&data))
		stream(p, plain(p), b.data, b.len);
	else
		probe_end(p, "no memory");
}

/* HealthCheckResponse { ServingStatus status = 1; } with SERVING 1, behind gRPC's five bytes. */
static int grpc_message(const uint8_t *p, size_t n, const char **reason)
{
	if (n >= 7 && !p[0] && p[5] == 8 && p[6] == 1)
		return 1;
	*reason = "the service is not SERVING";
	return -1;
}

int probe_grpc_read(const uint8_t *p, size_t n, const char **reason)
{
	size_t at, len;

	for (at = 0; at + 9 <= n; at += 9 + len) {
		len = (size_t)p[at] << 16 | (size_t)p[at + 1] << 8 | p[at + 2];
		if (at == 0 && p[3] != 4) {
			*reason = "the answer is no HTTP/2";
			return -1;
		}
		if (at + 9 + len > n)
			return 0;
		if (p[at + 3] == 0 && p[at + 8] == 1 && len)
			return grpc_message(p + at + 9, len, reason);
		/* the end of the stream, its reset, or goodbye */
		if ((p[at + 3] == 1 && p[at + 4] & 1) || p[at + 3] == 3 || p[at + 3] == 7) {
			*reason = "the call was refused";
			return -1;
		}
	}
	return 0;
}

/* ---- scripts --------------------------------------------------------------------------------- */

static void script_run(const struct prober_order *o)
{
	char addr[64], port[8];
	sigset_t none;
	int null = open("/dev/null", O_RDWR);

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	close_range(3, ~0U, 0);
	for (int s = 1; s < 32; s++)
		signal(s, SIG_DFL);
	snprintf(port, sizeof(port), "%u", o->port);
	clearenv();
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("BACKEND", config_addr_text(&o->addr, addr), 1);
	setenv("PORT", port, 1);
	setenv("SERVICE", o->service, 1);
	execl("/bin/sh", "sh", "-c", o->health.command, NULL);
	_exit(127);
}

static void on_exit_of(evutil_socket_t fd maybe_unused, short what maybe_unused, void *arg)
{
	struct probe *p = arg;
	struct probe_work *w = probe_work(p);
	char reason[48];
	int status;

	if (waitpid(w->pid, &status, WNOHANG) != w->pid)
		return;
	kill(-w->pid, SIGKILL); /* what it left behind */
	w->pid = 0;
	if (WIFEXITED(status) && !WEXITSTATUS(status)) {
		probe_end(p, NULL);
		return;
	}
	snprintf(reason, sizeof(reason), WIFEXITED(status) ? "exit code %d" : "signal %d",
		 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	probe_end(p, reason);
}

void probe_script(struct probe *p)
{
	struct probe_work *w = probe_work(p);

	if (!probe_is_nobody(p)) {
		probe_end(p, "no script: it would run as root (CAP_SETUID, CAP_SETGID)");
		return;
	}
	w->pid = fork();
	if (!w->pid)
		script_run(probe_order(p));
	if (w->pid > 0)
		setpgid(w->pid, w->pid);
	w->fd = w->pid > 0 ? pidfd_open(w->pid, 0) : -1;
	if (w->fd >= 0)
		w->io = event_new(probe_base(p), w->fd, EV_READ, on_exit_of, p);
	if (!w->io || event_add(w->io, NULL))
		probe_end(p, "the script cannot be started");
}
