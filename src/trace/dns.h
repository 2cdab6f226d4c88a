/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns.h: one DNS message (RFC 1035, 3596, 9460) read into a struct: the question and what the answer
 * section holds.
 *
 * Made for bytes from strangers: no allocation, every read bounded, compression pointers may only
 * point backward (so they cannot loop). Names are text as in a master file: lower-cased ASCII, '.'
 * between labels and none at the end, the root is "."; a dot or backslash inside a label is "\." or
 * "\\", every other byte that is not printable ASCII is \ddd.
 *
 * Not its business: where messages come from, TCP's length prefix, authority and additional records.
 */
#ifndef SKEP_TRACE_DNS_H
#define SKEP_TRACE_DNS_H

#include "base/base.h"

#define DNS_NAME_MAX   1024 /* 255 bytes, each escaped, and a NUL */
#define DNS_ANSWER_MAX 32
#define DNS_TEXT_MAX   4096

struct dns_answer {
	uint16_t type;
	uint8_t family; /* AF_INET, AF_INET6; 0: see text */
	uint8_t addr[16];
	uint32_t ttl;  /* seconds */
	uint16_t text; /* offset into dns_message.text: "10 mail.example.org" for an MX ... */
};

struct dns_message {
	uint16_t id;
	bool response;
	bool truncated; /* TC: the server left answers out */
	bool cut;	/* the capture ended before the message did: answers may be missing */
	uint8_t opcode; /* 0: query */
	uint8_t rcode;
	uint16_t type; /* of the first question, 0 where there is none */
	char name[DNS_NAME_MAX];
	uint32_t min_ttl;   /* of all records in the answer section; 0 where there are none */
	unsigned n_answers; /* those kept: the first DNS_ANSWER_MAX of a type that has a text */
	struct dns_answer answers[DNS_ANSWER_MAX];
	char text[DNS_TEXT_MAX];
};

/**
 * dns_parse() - read one message.
 * @data:  the first @len bytes of it
 * @whole: its length on the wire; more than @len where the capture cut it
 *
 * A cut message is read as far as it goes; its header and first question must be there.
 *
 * Return: 0 or -EBADMSG, then @out is undefined.
 */
int dns_parse(const void *data, size_t len, size_t whole, struct dns_message *out);

#define DNS_LABEL_MAX 16 /* room for the names below */

/** dns_type_name() - "AAAA", or "TYPE257" in @buf. */
const char *dns_type_name(uint16_t type, char buf[DNS_LABEL_MAX]);
/** dns_rcode_name() - "NXDOMAIN", or "RCODE12" in @buf. */
const char *dns_rcode_name(unsigned rcode, char buf[DNS_LABEL_MAX]);

/**
 * dns_answers_text() - all answers in their order, ',' between them: "a.example.org,192.0.2.1".
 *
 * An answer that does not fit into @cap is left out, and those behind it. Return: length.
 */
size_t dns_answers_text(const struct dns_message *m, char *dst, size_t cap);

#endif
