// SPDX-License-Identifier: Apache-2.0
/* dns_parse() on any bytes: the first two say how much of the message the capture left out. */
#include "trace/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct dns_message m, again;
	char text[600];
	size_t missing, n;

	if (size < 2)
		return 0;
	missing = (size_t)(data[0] << 8 | data[1]);
	data += 2;
	size -= 2;
	if (dns_parse(data, size, size + missing, &m))
		return 0;
	must(strlen(m.name) < DNS_NAME_MAX);
	must(m.n_answers <= DNS_ANSWER_MAX);
	must(!m.cut || missing);
	n = dns_answers_text(&m, text, sizeof(text));
	must(n == strlen(text) && n < sizeof(text));
	for (; n; n--)
		must(text[n - 1] >= ' ' && text[n - 1] < 0x7f);
	/* what was read without a cut is read the same with one */
	must(m.cut || (!dns_parse(data, size, size + 1, &again) && !memcmp(&m, &again, sizeof(m))));
	return 0;
}
