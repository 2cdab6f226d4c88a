// SPDX-License-Identifier: Apache-2.0
/*
 * libpcap is loaded at the first use: it brings libdbus, libsystemd and what these need, a megabyte
 * that the agent, which reads no capture, shall not carry.
 */
#include "host/capture.h"

#include <dlfcn.h>
#include <net/ethernet.h>
#include <pcap/pcap.h>

#define FUNCTIONS(F)                               \
	F(pcap_open_offline_with_tstamp_precision) \
	F(pcap_open_dead_with_tstamp_precision)    \
	F(pcap_datalink)                           \
	F(pcap_datalink_val_to_name)               \
	F(pcap_next_ex)                            \
	F(pcap_geterr)                             \
	F(pcap_close)                              \
	F(pcap_dump_open)                          \
	F(pcap_dump)                               \
	F(pcap_dump_file)                          \
	F(pcap_dump_flush)                         \
	F(pcap_dump_close)

static struct {
#define F(name) __typeof__(&name) name;
	FUNCTIONS(F)
#undef F
} lib;

static int lib_load(struct skep_err *err)
{
	static void *handle;

	if (!handle)
		handle = dlopen("libpcap.so.0.8", RTLD_NOW | RTLD_LOCAL);
#define F(name)                                             \
	if (handle && !lib.name)                            \
		*(void **)&lib.name = dlsym(handle, #name); \
	if (!lib.name)                                      \
		return skep_fail(err, -ENOENT, "libpcap is needed: %s", dlerror() ?: #name);
	FUNCTIONS(F)
#undef F
	return 0;
}

struct capture {
	pcap_t *pcap;
	pcap_dumper_t *dumper; /* NULL: reading */
	bool bare;	       /* packets begin with their IP header */
	char *path;	       /* that is read */
	uint8_t frame[ETH_HLEN + CAPTURE_PACKET_MAX];
};

static void capture_free(struct capture **c)
{
	if (!*c)
		return;
	if ((*c)->dumper)
		lib.pcap_dump_close((*c)->dumper);
	if ((*c)->pcap)
		lib.pcap_close((*c)->pcap);
	free((*c)->path);
	free(*c);
}

static int check_link(struct capture *c, const char *path, struct skep_err *err)
{
	int link = lib.pcap_datalink(c->pcap);

	c->bare = link == DLT_RAW || link == DLT_IPV4 || link == DLT_IPV6;
	if (c->bare || link == DLT_EN10MB)
		return 0;
	return skep_fail(err, -EINVAL, "%s holds frames of link type %s, not Ethernet", path,
			 lib.pcap_datalink_val_to_name(link) ?: "unknown");
}

int capture_open(struct capture **out, const char *path, struct skep_err *err)
{
	cleanup(capture_free) struct capture *c = calloc(1, sizeof(*c));
	char reason[PCAP_ERRBUF_SIZE] = "";
	int rc = lib_load(err);

	if (rc)
		return rc;
	if (!c || !(c->path = strdup(path)))
		return skep_fail(err, -ENOMEM, "no memory to read %s", path);
	if (strcmp(path, "-") && access(path, R_OK))
		return skep_fail(err, -errno, "%s: %s", path, strerror(errno));
	c->pcap = lib.pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO,
							      reason);
	if (!c->pcap)
		return skep_fail(err, -EINVAL, "%s is no capture: %s", path, reason);
	rc = check_link(c, path, err);
	if (!rc)
		*out = take(c);
	return rc;
}

/* A bare packet behind an Ethernet header that names its protocol. */
static const uint8_t *dress(struct capture *c, const uint8_t *data, uint32_t len)
{
	uint16_t type = len && data[0] >> 4 == 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP;

	memset(c->frame, 0, ETH_HLEN);
	c->frame[12] = (uint8_t)(type >> 8);
	c->frame[13] = (uint8_t)type;
	memcpy(c->frame + ETH_HLEN, data, len);
	return c->frame;
}

int capture_next(struct capture *c, struct capture_packet *packet, struct skep_err *err)
{
	uint32_t more = c->bare ? ETH_HLEN : 0;
	struct pcap_pkthdr *head;
	const uint8_t *data;
	int rc = lib.pcap_next_ex(c->pcap, &head, &data);

	if (rc == PCAP_ERROR_BREAK)
		return 0;
	if (rc != 1 || head->caplen > CAPTURE_PACKET_MAX)
		return skep_fail(err, -EBADMSG, "%s is damaged: %s", c->path,
				 rc == 1 ? "a packet longer than 64 KiB"
					 : lib.pcap_geterr(c->pcap));
	packet->data = c->bare ? dress(c, data, head->caplen) : data;
	packet->len = head->caplen + more;
	packet->wire_len = head->len + more;
	packet->time.tv_sec = head->ts.tv_sec;
	packet->time.tv_nsec = head->ts.tv_usec; /* ns, as asked for at open */
	return 1;
}

int capture_create(struct capture **out, const char *path, struct skep_err *err)
{
	cleanup(capture_free) struct capture *c = calloc(1, sizeof(*c));
	int rc = lib_load(err);

	if (rc)
		return rc;
	if (c)
		c->pcap = lib.pcap_open_dead_with_tstamp_precision(DLT_EN10MB, CAPTURE_PACKET_MAX,
								   PCAP_TSTAMP_PRECISION_NANO);
	if (!c || !c->pcap)
		return skep_fail(err, -ENOMEM, "no memory to write %s", path);
	c->dumper = lib.pcap_dump_open(c->pcap, path);
	if (!c->dumper)
		return skep_fail(err, errno ? -errno : -EIO, "%s", lib.pcap_geterr(c->pcap));
	*out = take(c);
	return 0;
}

int capture_write(struct capture *c, const struct capture_packet *packet)
{
	struct pcap_pkthdr head = {
		.ts = {.tv_sec = packet->time.tv_sec, .tv_usec = packet->time.tv_nsec},
		.caplen = packet->len,
		.len = max(packet->len, packet->wire_len),
	};

	lib.pcap_dump((u_char *)c->dumper, &head, packet->data);
	return ferror(lib.pcap_dump_file(c->dumper)) ? -EIO : 0;
}

int capture_close(struct capture *c)
{
	int rc = 0;

	if (!c)
		return 0;
	if (c->dumper && (lib.pcap_dump_flush(c->dumper) || ferror(lib.pcap_dump_file(c->dumper))))
		rc = errno ? -errno : -EIO;
	capture_free(&c);
	return rc;
}
