// SPDX-License-Identifier: Apache-2.0
#include <net/if.h>

#include "host/port.h"

static const struct kind {
	const char *word, *form;
	enum port_kind kind;
	bool device;	    /* behind the colon stands an interface */
	const char *second; /* what stands before the second name; NULL: there is none */
} kinds[] = {
	{"pcap", "pcap:[IN][,OUT]", PORT_PCAP, false, ""},
	{"packet", "packet:IFACE", PORT_PACKET, true, NULL},
	{"xdp", "xdp:IFACE[/QUEUE][,stack=TAP]", PORT_XDP, true, "stack="},
	{"tap", "tap:IFACE", PORT_TAP, true, NULL},
};

static int wrong(struct skep_err *err, const char *text, const char *expected)
{
	return skep_fail(err, -EINVAL, "--port '%s': expected %s", text, expected);
}

static const struct kind *kind_of(const char *spec, size_t n)
{
	size_t i;

	for (i = 0; i < array_size(kinds); i++)
		if (strlen(kinds[i].word) == n && !memcmp(kinds[i].word, spec, n))
			return &kinds[i];
	return NULL;
}

static bool copy(char *to, size_t cap, const char *from, size_t n)
{
	if (n >= cap)
		return false;
	memcpy(to, from, n);
	to[n] = '\0';
	return true;
}

/* Cuts "/QUEUE" off. */
static bool take_queue(struct port_spec *s)
{
	char *at = strchr(s->device, '/'), *end;
	unsigned long queue;

	if (!at)
		return true;
	*at++ = '\0';
	queue = strtoul(at, &end, 10);
	s->queue = (uint32_t)queue;
	return *at >= '0' && *at <= '9' && !*end && queue < 4096;
}

static bool take_second(struct port_spec *s, const struct kind *k, const char *text)
{
	size_t n = k->second ? strlen(k->second) : 0;

	if (!k->second || strncmp(text, k->second, n))
		return false;
	return copy(s->second, sizeof(s->second), text + n, strlen(text + n)) && s->second[0];
}

static bool is_interface(const char *name)
{
	return name[0] && strlen(name) < IF_NAMESIZE && !strchr(name, '/');
}

static bool complete(const struct port_spec *s, const struct kind *k)
{
	if (!k->device)
		return s->device[0] || s->second[0];
	return is_interface(s->device) && (!s->second[0] || is_interface(s->second));
}

int port_parse(struct port_spec *out, const char *text, struct skep_err *err)
{
	const char *spec = strchr(text, '='), *colon, *comma;
	struct port_spec s = {.queue = 0};
	const struct kind *k;
	size_t n;

	colon = spec ? strchr(spec, ':') : NULL;
	k = colon ? kind_of(spec + 1, (size_t)(colon - spec - 1)) : NULL;
	if (!k || spec == text)
		return wrong(err, text, "NAME=pcap:..., packet:..., xdp:... or tap:...");
	s.kind = k->kind;
	if (!copy(s.name, sizeof(s.name), text, (size_t)(spec - text)))
		return wrong(err, text, "a shorter name");
	comma = strchr(colon, ',');
	n = comma ? (size_t)(comma - colon - 1) : strlen(colon + 1);
	if (!copy(s.device, sizeof(s.device), colon + 1, n) ||
	    (comma && !take_second(&s, k, comma + 1)) || (k->kind == PORT_XDP && !take_queue(&s)) ||
	    !complete(&s, k))
		return wrong(err, text, k->form);
	*out = s;
	return 0;
}
