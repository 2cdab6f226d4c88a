// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* For ports.bats: what a sched_cls program on live frames may decide. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MARK 0x1234

const volatile __u32 target;
__u64 seen, wrong;

static int is_test(struct __sk_buff *skb)
{
	return skb->protocol == bpf_htons(0x88b5);
}

SEC("tc")
int lead(struct __sk_buff *skb)
{
	if (skb->len != 60 || skb->ifindex != skb->ingress_ifindex)
		wrong++;
	return is_test(skb) ? (int)bpf_redirect(target, 0) : TC_ACT_SHOT;
}

SEC("tc")
int copy(struct __sk_buff *skb)
{
	if (is_test(skb) && bpf_clone_redirect(skb, target, 0))
		wrong++;
	return TC_ACT_OK;
}

SEC("tc")
int mark(struct __sk_buff *skb)
{
	skb->mark = MARK;
	return TC_ACT_UNSPEC;
}

SEC("tc")
int drop_marked(struct __sk_buff *skb)
{
	seen += is_test(skb);
	return skb->mark == MARK ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

char license_text[] SEC("license") = "GPL";
