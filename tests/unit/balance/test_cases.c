// SPDX-License-Identifier: Apache-2.0
/*
 * The packet cases of tests/cap/balance: services, then frames in and what must come out, through the
 * code of `skep balance simulate`, on each host. One file is one test a host; its README has the words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>

#include "balance/simulate.h"
#include "host/seam.h"
#include "pack.h"

#ifndef CASES
#define CASES "tests/cap/balance"
#endif

struct run {
	const char *path;
	int line;
	struct simulate *sim;
	unsigned mtu;
	struct frame in, inner; /* inner: of a packed one */
	struct simulate_result out;
	struct {
		char label[32], backend[64]; /* or a port of ours */
	} seen[64];
	int n_seen;
	bool have;
	bool no_sum;	 /* the outer UDP header shall have no checksum */
	char second[64]; /* in the outer header */
};

static unsigned packets;

#define check(r, cond, ...)                                           \
	do {                                                          \
		if (!(cond)) {                                        \
			print_error("%s:%d: ", (r)->path, (r)->line); \
			print_error(__VA_ARGS__);                     \
			print_error("\n");                            \
			fail();                                       \
		}                                                     \
	} while (0)

/* ---- what came out --------------------------------------------------------------------------- */

/* @size: of what is behind the outer header. */
static void check_outer4(struct run *r, const uint8_t *o, size_t size, int tos, int proto)
{
	uint8_t src[4], dst[4];

	inet_pton(AF_INET, "192.0.2.1", src);
	inet_pton(AF_INET, r->out.backend, dst);
	check(r, o[0] == 0x45 && get16(o + 2) == size + 20, "outer IPv4: length %u of %zu",
	      get16(o + 2), size + 20);
	check(r, sum16(o, 20, 0) == 0xffff, "outer IPv4: checksum is wrong");
	check(r, o[1] == tos && o[8] == 64 && get16(o + 6) == 0x4000, "outer IPv4: tos, ttl or DF");
	check(r, o[9] == proto, "outer IPv4: protocol %u", o[9]);
	check(r, !memcmp(o + 12, src, 4) && !memcmp(o + 16, dst, 4), "outer IPv4: addresses");
}

static void check_outer6(struct run *r, const uint8_t *o, size_t size, int tos, int proto)
{
	uint8_t src[16], dst[16];

	inet_pton(AF_INET6, "2001:db8::1", src);
	inet_pton(AF_INET6, r->out.backend, dst);
	check(r, o[0] >> 4 == 6 && get16(o + 4) == size, "outer IPv6: length %u of %zu",
	      get16(o + 4), size);
	check(r, (get16(o) >> 4 & 0xff) == (unsigned)tos && o[7] == 64,
	      "outer IPv6: class or hops");
	check(r, o[6] == proto, "outer IPv6: next header %u", o[6]);
	check(r, !memcmp(o + 8, src, 16) && !memcmp(o + 24, dst, 16), "outer IPv6: addresses");
}

/* @o: the outer IP header. Return: bytes between it and the packet. */
static size_t check_gue(struct run *r, const uint8_t *o, size_t size, bool v6)
{
	const uint8_t *udp = o + (v6 ? 40 : 20), *addrs = o + (v6 ? 8 : 12);
	size_t udp_size = get16(udp + 4), more = udp_size - size - 8;
	int inner = r->in.family == 4 ? 4 : 41;
	uint32_t seed = sum16(addrs, v6 ? 32 : 8, 0) + (uint32_t)udp_size + 17;

	check(r, get16(udp) >= 0xc000 && get16(udp + 2) == 6080, "GUE: ports");
	check(r, more == 0 || more == (v6 ? 20 : 8), "GUE: %zu bytes of header", more);
	check(r, !more || (udp[8] == more / 4 - 1 && udp[9] == inner && !get16(udp + 10)),
	      "GUE: header");
	check(r, !get16(udp + 6) || sum16(udp, udp_size, seed) == 0xffff, "GUE: checksum");
	check(r, !get16(udp + 6) == r->no_sum, "GUE: checksum %04x", get16(udp + 6));
	snprintf(r->second, sizeof(r->second), "none");
	if (more)
		inet_ntop(v6 ? AF_INET6 : AF_INET, udp + 12, r->second, sizeof(r->second));
	return 8 + more;
}

/* Without the option the packet must be as it came. */
static void check_option(struct run *r, const uint8_t *o, const uint8_t *in, size_t size)
{
	size_t head = r->in.family == 4 ? 20 : 40, more = r->in.family == 4 ? 8 : 24;
	uint8_t back[2048], to[16];

	check(r, inet_pton(r->in.family == 4 ? AF_INET : AF_INET6, r->out.backend, to) == 1,
	      "family of %s", r->out.backend);
	memcpy(back, o, head);
	memcpy(back + head, o + head + more, size - head);
	if (r->in.family == 4) {
		check(r, sum16(o, (size_t)(o[0] & 15) * 4, 0) == 0xffff, "checksum of IP");
		check(r, o[20] == 0x9a && o[21] == 8 && !memcmp(o + 16, to, 4), "option");
		check(r, get16(o + 2) == get16(in + 2) + more, "length");
		back[0] = (uint8_t)(back[0] - 2);
		memcpy(back + 2, in + 2, 2);
		memcpy(back + 10, in + 10, 2);
		memcpy(back + 16, o + 24, 4);
	} else {
		check(r, o[6] == 60 && o[41] == 2 && o[42] == 0x1b && o[43] == 20, "option");
		check(r, !memcmp(o + 24, to, 16) && get16(o + 4) == get16(in + 4) + more, "length");
		back[6] = o[40];
		memcpy(back + 4, in + 4, 2);
		memcpy(back + 24, o + 44, 16);
	}
	check(r, !memcmp(back, in, size), "the packet differs but for the option");
}

static void check_forwarded(struct run *r)
{
	bool v6 = strchr(r->out.backend, ':') != NULL, tagged = r->in.l3 > 14;
	bool bare = r->out.mode == BALANCE_L2 || r->out.mode == BALANCE_OPTION;
	const uint8_t *in = r->in.data, *out = r->out.frame;
	size_t l3 = r->in.l3, head = v6 ? 40 : 20, more = 0;
	static const uint8_t gateway[6] = {2, 0, 0, 0, 0, 2};
	size_t size = r->in.family == 4 ? get16(in + l3 + 2) : get16(in + l3 + 4) + 40;
	int tos = r->in.family == 4 ? in[l3 + 1] : (int)(get16(in + l3) >> 4 & 0xff);
	int inner = r->out.mode == BALANCE_GUE ? 17 : r->in.family == 4 ? 4 : 41;

	if (bare)
		v6 = r->in.family == 6;
	check(r, !memcmp(out, tagged ? in + 6 : gateway, 6) && !memcmp(out + 6, in, 6),
	      "link addresses");
	check(r, !memcmp(out + 12, in + 12, l3 - 14), "tags");
	check(r, get16(out + l3 - 2) == (v6 ? 0x86dd : 0x0800), "Ethernet type");
	if (r->out.mode == BALANCE_OPTION) {
		check(r, r->out.size == r->in.size + (v6 ? 24 : 8), "%zu bytes", r->out.size);
		check_option(r, out + l3, in + l3, r->in.size - l3);
		return;
	}
	if (bare)
		head = 0;
	if (r->out.mode == BALANCE_GUE)
		more = check_gue(r, out + l3, size, v6);
	check(r, r->out.size == r->in.size + head + more, "%zu bytes from %zu", r->out.size,
	      r->in.size);
	if (!bare && v6)
		check_outer6(r, out + l3, size + more, tos, inner);
	else if (!bare)
		check_outer4(r, out + l3, size + more, tos, inner);
	check(r, !memcmp(out + l3 + head + more, in + l3, r->in.size - l3),
	      "the inner packet differs");
}

/* Mode nat: the packet is as the case says, from the first byte of IP to the last. */
static void check_frame(struct run *r, struct words *w)
{
	const uint8_t *in = r->in.data, *out = r->out.frame;
	static const uint8_t gateway[6] = {2, 0, 0, 0, 0, 2};
	struct frame want;
	size_t i, l3 = r->in.l3;

	check(r, frame_build(&want, w), "bad words at '%s'", word(w));
	check(r, !memcmp(out, l3 > 14 ? in + 6 : gateway, 6) && !memcmp(out + 6, in, 6),
	      "link addresses");
	check(r, !memcmp(out + 12, in + 12, l3 - 12), "tags or Ethernet type");
	check(r, want.size - want.l3 == r->out.size - l3, "%zu bytes, not %zu", r->out.size - l3,
	      want.size - want.l3);
	for (i = 0; i < want.size - want.l3; i++)
		check(r, out[l3 + i] == want.data[want.l3 + i], "byte %zu is %02x, not %02x", i,
		      out[l3 + i], want.data[want.l3 + i]);
}

static void check_echo(struct run *r)
{
	const uint8_t *in = r->in.data + r->in.l3, *out = r->out.frame + r->in.l3;
	size_t addr = r->in.family == 4 ? 12 : 8, len = r->in.family == 4 ? 4 : 16;
	size_t icmp = r->in.family == 4 ? (size_t)(in[0] & 15) * 4 : 40;
	size_t end = r->in.family == 4 ? get16(in + 2) : get16(in + 4) + 40;
	uint32_t seed = 0;

	check(r, r->out.size == r->in.size, "an echo of another length");
	check(r,
	      !memcmp(r->out.frame, r->in.data + 6, 6) && !memcmp(r->out.frame + 6, r->in.data, 6),
	      "link addresses");
	check(r,
	      !memcmp(out + addr, in + addr + len, len) &&
		      !memcmp(out + addr + len, in + addr, len),
	      "addresses are not turned");
	if (r->in.family == 6)
		seed = sum16(out + 8, 32, 0) + (uint32_t)(end - icmp) + 58;
	check(r, out[icmp] == (r->in.family == 4 ? 0 : 129), "type %u", out[icmp]);
	check(r, sum16(out + icmp, end - icmp, seed) == 0xffff, "checksum of ICMP");
	check(r, !memcmp(out + icmp + 4, in + icmp + 4, end - icmp - 4), "payload");
}

static void check_told(struct run *r, unsigned mtu)
{
	const uint8_t *in = r->in.data + r->in.l3, *out = r->out.frame + r->in.l3;
	bool v6 = r->in.family == 6;
	size_t head = v6 ? 40 : 20, quote = v6 ? 192 : 68, n = 8 + quote;
	uint32_t seed = v6 ? sum16(out + 8, 32, 0) + (uint32_t)n + 58 : 0;

	check(r, r->out.size == r->in.l3 + head + n, "%zu bytes", r->out.size);
	check(r, v6 ? get16(out + 4) == n : get16(out + 2) == head + n, "length");
	check(r, v6 ? out[head] == 2 : out[head] == 3 && out[head + 1] == 4, "type and code");
	check(r, sum16(out + head, n, seed) == 0xffff, "checksum of ICMP");
	check(r, v6 || sum16(out, 20, 0) == 0xffff, "checksum of IP");
	check(r, get16(out + head + 6) == mtu, "MTU %u", get16(out + head + 6));
	check(r, !memcmp(out + head + 8, in, quote), "the quoted packet");
	check(r,
	      v6 ? !memcmp(out + 8, in + 24, 16) && !memcmp(out + 24, in + 8, 16)
		 : !memcmp(out + 12, in + 16, 4) && !memcmp(out + 16, in + 12, 4),
	      "addresses are not turned");
}

/* ---- words of "out" -------------------------------------------------------------------------- */

static const char *label_find(struct run *r, const char *label)
{
	for (int i = 0; i < r->n_seen; i++)
		if (!strcmp(r->seen[i].label, label))
			return r->seen[i].backend;
	check(r, false, "nothing is remembered as %s", label);
	return "";
}

static void remember(struct run *r, const char *label, const char *what)
{
	int i = 0;

	while (i < r->n_seen && strcmp(r->seen[i].label, label))
		i++;
	check(r, i < 64, "too many labels");
	r->n_seen += i == r->n_seen;
	snprintf(r->seen[i].label, 32, "%s", label);
	snprintf(r->seen[i].backend, 64, "%s", what);
}

/* The source port of what came out. */
static void port_remember(struct run *r, const char *label)
{
	const uint8_t *ip = r->out.frame + r->in.l3;
	char text[8];

	snprintf(text, sizeof(text), "%u",
		 get16(ip + (r->in.family == 4 ? (size_t)(ip[0] & 15) * 4 : 40)));
	remember(r, label, text);
}

/* @LABEL, seq=@LABEL: what is remembered as that. */
static void labels_put(struct run *r, struct words *w)
{
	static char seq[80];

	for (int i = w->at; i < w->n; i++) {
		if (*w->list[i] == '@')
			w->list[i] = (char *)label_find(r, w->list[i] + 1);
		if (!strncmp(w->list[i], "seq=@", 5)) {
			snprintf(seq, sizeof(seq), "seq=%s", label_find(r, w->list[i] + 5));
			w->list[i] = seq;
		}
	}
}

/* A challenge: SYN and ACK, back to the client, nothing behind TCP's header. */
static void check_challenge(struct run *r)
{
	const uint8_t *in = r->in.data + r->in.l3, *out = r->out.frame + r->in.l3;
	bool v6 = r->in.family == 6;
	size_t addr = v6 ? 8 : 12, len = v6 ? 16 : 4, head = v6 ? 40 : 20;
	const uint8_t *tcp = out + head, *syn = in + head;
	uint32_t seed = sum16(out + addr, 2 * len, 0) + 20 + 6;

	if (!strcmp(r->out.verdict, "drop"))
		return;
	check(r, r->out.size == r->in.l3 + head + 20, "%zu bytes", r->out.size);
	check(r,
	      !memcmp(r->out.frame, r->in.data + 6, 6) && !memcmp(r->out.frame + 6, r->in.data, 6),
	      "link addresses");
	check(r,
	      !memcmp(out + addr, in + addr + len, len) &&
		      !memcmp(out + addr + len, in + addr, len),
	      "addresses are not turned");
	check(r, !memcmp(tcp, syn + 2, 2) && !memcmp(tcp + 2, syn, 2), "ports are not turned");
	check(r, v6 ? get16(out + 4) == 20 && out[6] == 6 : get16(out + 2) == 40 && out[9] == 6,
	      "length or protocol");
	check(r, v6 || sum16(out, 20, 0) == 0xffff, "checksum of IP");
	check(r, tcp[12] == 0x50 && tcp[13] == 0x12, "flags");
	check(r, sum16(tcp, 20, seed) == 0xffff, "checksum of TCP");
}

/* Passed as the client sent it, behind the link addresses that it came with. */
static void check_unpacked(struct run *r)
{
	check(r, r->out.size == r->inner.size, "%zu bytes, not %zu", r->out.size, r->inner.size);
	check(r, !memcmp(r->out.frame, r->in.data, 12), "link addresses");
	check(r, !memcmp(r->out.frame + 12, r->inner.data + 12, r->inner.size - 12),
	      "not the packet that was packed");
}

static void ack_remember(struct run *r, const char *label)
{
	const uint8_t *tcp = r->out.frame + r->in.l3 + (r->in.family == 6 ? 40 : 20);
	char text[16];

	snprintf(text, sizeof(text), "%u", get16(tcp + 8) << 16 | get16(tcp + 10));
	remember(r, label, text);
}

static bool among(const char *list, const char *what)
{
	char copy[512], *save, *t;

	snprintf(copy, sizeof(copy), "%s", list);
	for (t = strtok_r(copy, ",", &save); t; t = strtok_r(NULL, ",", &save))
		if (!strcmp(t, what))
			return true;
	return false;
}

static void out_words(struct run *r, struct words *w)
{
	const char *v;

	while (w->at < w->n) {
		if ((v = value(w, "to")))
			check(r, among(v, r->out.backend), "to %s", r->out.backend);
		else if ((v = value(w, "not")))
			check(r, !among(v, r->out.backend), "to %s", r->out.backend);
		else if ((v = value(w, "as"))) {
			remember(r, v, r->out.backend);
		} else if ((v = value(w, "port"))) {
			port_remember(r, v);
		} else if ((v = value(w, "ack"))) {
			ack_remember(r, v);
		} else if (flag(w, "frame")) {
			labels_put(r, w);
			check_frame(r, w);
		} else if ((v = value(w, "like")))
			check(r, !strcmp(label_find(r, v), r->out.backend), "to %s, not %s",
			      r->out.backend, label_find(r, v));
		else if ((v = value(w, "mtu")))
			check_told(r, (unsigned)atoi(v));
		else if ((v = value(w, "second")))
			check(r,
			      !strcmp(v, "some") ? strcmp(r->second, "none") != 0 &&
							   strcmp(r->second, r->out.backend) != 0
						 : !strcmp(v, r->second),
			      "second: %s", r->second);
		else if ((v = value(w, "entry")))
			check(r, atoi(v) == r->out.entry, "entry: %d", r->out.entry);
		else
			check(r, false, "unknown word '%s'", word(w));
	}
}

static bool has_word(const struct words *w, const char *what)
{
	for (int i = w->at; i < w->n; i++)
		if (!strcmp(w->list[i], what))
			return true;
	return false;
}

static void out(struct run *r, struct words *w)
{
	const char *verdict = word_take(w), *reason = word_take(w), *service = "";

	check(r, r->have, "out without in");
	r->have = false;
	packets++;
	check(r, !strcmp(verdict, r->out.verdict) && !strcmp(reason, r->out.reason),
	      "%s %s (service '%s', backend '%s')", r->out.verdict, r->out.reason, r->out.service,
	      r->out.backend);
	if (*word(w) && !strchr(word(w), '='))
		service = word_take(w);
	check(r, !strcmp(service, r->out.service), "service '%s'", r->out.service);
	r->no_sum = flag(w, "nosum");
	if (!strcmp(reason, "returned") ||
	    (!strcmp(reason, "forwarded") && r->out.mode == BALANCE_NAT))
		check(r, has_word(w, "frame"), "a translated packet: the case must say 'frame'");
	else if (!strcmp(reason, "forwarded"))
		check_forwarded(r);
	else if (!strcmp(reason, "challenged"))
		check_challenge(r);
	else if (!strcmp(reason, "unpacked"))
		check_unpacked(r);
	else if (!strcmp(reason, "echo"))
		check_echo(r);
	else if (strcmp(reason, "too_big_told"))
		check(r, r->out.size == r->in.size && !memcmp(r->out.frame, r->in.data, r->in.size),
		      "the frame was changed");
	out_words(r, w);
}

static void in(struct run *r, struct words *w)
{
	const char *how = value(w, "packed"), *to = how ? word_take(w) : NULL;
	struct skep_err err = {""};

	labels_put(r, w);
	check(r, frame_build(&r->in, w), "bad words at '%s'", word(w));
	r->inner = r->in;
	check(r, !how || pack(&r->in, &r->inner, how, to), "packed=%s", how);
	check(r, !simulate_packet(r->sim, r->in.data, r->in.size, &r->out, &err), "%s", err.text);
	r->have = true;
}

/* ---- files ----------------------------------------------------------------------------------- */

static void services(struct run *r, FILE *f)
{
	struct config_set set = {0};
	struct skep_err err = {""};
	char text[65536] = "", line[1024];
	int begun = r->line;

	while (fgets(line, sizeof(line), f) && strcmp(line, "end\n")) {
		r->line++;
		strcat(text, line);
	}
	r->line++;
	if (config_read("services", text, strlen(text), &set, NULL, &err))
		check(r, false, "from line %d: %s", begun, err.text);
	if (r->sim)
		check(r, !simulate_apply(r->sim, &set, &err), "%s", err.text);
	else
		check(r, !simulate_open(&r->sim, &set, r->mtu, &err), "%s", err.text);
	config_done(&set);
}

static void line_run(struct run *r, char *line, FILE *f)
{
	struct words w = {.n = 0};
	char *save, *t;

	for (t = strtok_r(line, " \t\n", &save); t && *t != '#'; t = strtok_r(NULL, " \t\n", &save))
		if (w.n < 64)
			w.list[w.n++] = t;
	if (!w.n)
		return;
	if (flag(&w, "services"))
		services(r, f);
	else if (flag(&w, "in"))
		in(r, &w);
	else if (flag(&w, "out"))
		out(r, &w);
	else if (flag(&w, "mtu"))
		r->mtu = (unsigned)atoi(word(&w));
	else
		check(r, false, "unknown word '%s'", word(&w));
}

static const struct host {
	const char *name;
	bool engine;
	struct skep_engine_options options;
} hosts[] = {
	{"kernel", false, {0}},
	{"engine", true, {.interpret = true}},
	{"engine, compiled", true, {.unsafe = true}},
};

/* One file on one host. */
struct test {
	char *path, *name;
	const struct host *host;
};

static void the_file_holds(void **state)
{
	const struct test *t = *state;
	struct run *r = calloc(1, sizeof(*r));
	struct skep_engine *engine = NULL;
	char line[1024];
	FILE *f;

	if (t->host->engine)
		assert_int_equal(skep_engine_open(&engine, &t->host->options), 0);
	host_use(engine);
	r->path = t->path;
	r->mtu = 1500;
	f = fopen(r->path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		r->line++;
		line_run(r, line, f);
	}
	check(r, packets > 0, "no packet");
	simulate_free(r->sim);
	host_use(NULL);
	skep_engine_free(engine);
	fclose(f);
	free(r);
}

static int is_case(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return n > 5 && !strcmp(d->d_name + n - 5, ".case");
}

int main(void)
{
	size_t each = array_size(hosts), n, i;
	struct CMUnitTest *tests;
	struct config_addr node[2];
	struct dirent **files;
	struct test *all;
	int found = scandir(CASES, &files, is_case, alphasort), rc;

	config_addr_read("192.0.2.1", 9, &node[0]);
	config_addr_read("2001:db8::1", 11, &node[1]);
	config_node_set(node, 2);
	if (found < 1) {
		fprintf(stderr, "no cases in " CASES ": run in the repository's root\n");
		return 1;
	}
	n = (size_t)found * each;
	tests = calloc(n, sizeof(*tests));
	all = calloc(n, sizeof(*all));
	for (i = 0; i < n; i++) {
		struct test *t = &all[i];
		const char *file = files[i / each]->d_name;

		t->host = &hosts[i % each];
		if (asprintf(&t->path, CASES "/%s", file) < 0 ||
		    asprintf(&t->name, "%s @%s", file, t->host->name) < 0)
			return 1;
		tests[i] = (struct CMUnitTest){
			.name = t->name, .test_func = the_file_holds, .initial_state = t};
	}
	rc = _cmocka_run_group_tests("balance", tests, n, NULL, NULL);
	printf("# %u packets\n", packets);
	for (i = 0; i < n; i++) {
		free(all[i].path);
		free(all[i].name);
	}
	for (i = 0; i < n / each; i++)
		free(files[i]);
	free(files);
	free(tests);
	free(all);
	return rc;
}
