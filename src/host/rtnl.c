// SPDX-License-Identifier: Apache-2.0
/*
 * rtnl.c: netlink of a command, where it is about programs on interfaces.
 *
 *	socket(AF_NETLINK, ..., NETLINK_ROUTE)   the kernel's socket, put at one of a few high numbers:
 *	                                         the filter traps send and receive by the descriptor, so
 *	                                         no other socket pays
 *	send: IFLA_XDP for an interface          the engine's; the kernel is sent a no-op in its stead,
 *	                                         whose acknowledgement keeps the order of answers
 *	receive: RTM_NEWLINK                     IFLA_XDP tells of the engine's program, or of none
 *	         acknowledgement of a no-op      takes the engine's error
 *
 * N1  The socket stays the kernel's: bind, poll, time-outs and dumps are its own. What is not about
 *     programs goes on untouched. A message about a program and something else is refused: sent by us, the
 *     rest would be done with our rights.
 * N2  Only sockets of our network namespace: elsewhere the numbers of interfaces mean others.
 * N3  Nothing waits here: where there is nothing to receive the kernel goes on.
 */
#include "host/rtnl.h"

#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "vm/vm.h"

#define SEND_MAX    32768U
#define RECEIVE_MAX 65536U
#define GROWTH	    4096U /* of what is received, by answers that are longer */
#define IOVS	    16

/* ---- attributes --------------------------------------------------------------------------------*/
static struct nlattr *attr_at(uint8_t *at, size_t left)
{
	struct nlattr *a = (void *)at;

	if (left < sizeof(*a) || a->nla_len < sizeof(*a) || a->nla_len > left)
		return NULL;
	return a;
}

static struct nlattr *attr_find(uint8_t *at, size_t left, unsigned type)
{
	struct nlattr *a;

	while ((a = attr_at(at, left))) {
		size_t step = min((size_t)NLA_ALIGN(a->nla_len), left);

		if ((a->nla_type & NLA_TYPE_MASK) == type)
			return a;
		at += step;
		left -= step;
	}
	return NULL;
}

static struct nlattr *inner_find(struct nlattr *a, unsigned type)
{
	return attr_find((uint8_t *)(a + 1), a->nla_len - sizeof(*a), type);
}

/* A number of 32 bits in @a, or @none. */
static uint32_t number_in(struct nlattr *a, unsigned type, uint32_t none)
{
	const struct nlattr *n = inner_find(a, type);

	if (n && n->nla_len >= sizeof(*n) + sizeof(none))
		memcpy(&none, n + 1, sizeof(none));
	return none;
}

/* Of a message of links. */
static struct nlattr *link_find(struct nlmsghdr *h, unsigned type)
{
	size_t head = NLMSG_LENGTH(sizeof(struct ifinfomsg));

	if (h->nlmsg_len < head)
		return NULL;
	return attr_find((uint8_t *)h + head, h->nlmsg_len - head, type);
}

/* ---- the caller's bytes ------------------------------------------------------------------------*/
/* Where a caller's call has its bytes: send and receive alike. */
struct bytes {
	struct iovec v[IOVS];
	unsigned n;
	size_t total;
	struct msghdr head; /* of sendmsg and recvmsg */
	uint64_t head_at, name, name_len_at;
	int flags;
};

static int from_msghdr(struct bytes *b, const struct vm_caller *c, const struct seccomp_data *call)
{
	b->head_at = call->args[1];
	b->flags = (int)call->args[2];
	if (c->read(c->arg, &b->head, b->head_at, sizeof(b->head)) || b->head.msg_iovlen > IOVS)
		return -EFAULT;
	b->n = (unsigned)b->head.msg_iovlen;
	b->name = (uintptr_t)b->head.msg_name;
	b->name_len_at = b->head_at + offsetof(struct msghdr, msg_namelen);
	return c->read(c->arg, b->v, (uintptr_t)b->head.msg_iov, b->n * sizeof(*b->v));
}

static void from_buffer(struct bytes *b, const struct seccomp_data *call)
{
	b->v[0] = (struct iovec){(void *)(uintptr_t)call->args[1], (size_t)call->args[2]};
	b->n = 1;
	b->flags = (int)call->args[3];
	b->name = call->args[4];
	b->name_len_at = call->args[5];
}

static int find_bytes(struct bytes *b, const struct vm_caller *c, const struct seccomp_data *call,
		      bool head)
{
	int rc = 0;

	*b = (struct bytes){0};
	if (head)
		rc = from_msghdr(b, c, call);
	else
		from_buffer(b, call);
	for (unsigned i = 0; i < b->n; i++)
		b->total += min(b->v[i].iov_len, (size_t)RECEIVE_MAX);
	return rc;
}

static int gather(const struct bytes *b, const struct vm_caller *c, uint8_t *to)
{
	for (unsigned i = 0; i < b->n; i++) {
		if (c->read(c->arg, to, (uintptr_t)b->v[i].iov_base, b->v[i].iov_len))
			return -EFAULT;
		to += b->v[i].iov_len;
	}
	return 0;
}

static int scatter(const struct bytes *b, const struct vm_caller *c, const uint8_t *from, size_t n)
{
	for (unsigned i = 0; i < b->n && n; i++) {
		size_t part = min(n, b->v[i].iov_len);

		if (c->write(c->arg, (uintptr_t)b->v[i].iov_base, from, part))
			return -EFAULT;
		from += part;
		n -= part;
	}
	return 0;
}

/* ---- sockets -----------------------------------------------------------------------------------*/
static bool same_network(pid_t tid)
{
	struct stat ours, theirs;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", tid);
	return !stat(path, &theirs) && !stat("/proc/self/ns/net", &ours) &&
	       ours.st_ino == theirs.st_ino;
}

static bool number_is_free(struct target *t, int number)
{
	const struct vm_caller c = target_caller(t);
	cleanup(fd_close) int fd = c.fd_get(c.arg, number);

	return fd == -EBADF;
}

bool rtnl_socket(struct target *t, const struct seccomp_data *call, long *rc)
{
	cleanup(fd_close) int fd = -1;
	int number = RTNL_FD_FIRST;

	if (!same_network(t->tid)) /* N2 */
		return false;
	while (number < RTNL_FD_END && !number_is_free(t, number))
		number++;
	if (number == RTNL_FD_END)
		return false;
	fd = socket(AF_NETLINK, (int)call->args[1] | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return false;
	*rc = target_fd_at(t, fd, number, call->args[1] & SOCK_CLOEXEC ? O_CLOEXEC : 0);
	return *rc >=
	       0; /* more descriptors than the caller may have: the kernel's, at any number */
}

static bool is_rtnl(int fd)
{
	int domain = 0, protocol = -1;
	socklen_t n = sizeof(domain);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) || domain != AF_NETLINK)
		return false;
	n = sizeof(protocol);
	return !getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &n) && protocol == NETLINK_ROUTE;
}

static uint64_t inode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : st.st_ino;
}

/* ---- send --------------------------------------------------------------------------------------*/
static uint32_t ifindex_of(struct nlmsghdr *h)
{
	const struct ifinfomsg *link = NLMSG_DATA(h);
	char name[IF_NAMESIZE] = "";
	const struct nlattr *a;

	if (link->ifi_index > 0)
		return (uint32_t)link->ifi_index;
	a = link_find(h, IFLA_IFNAME);
	if (a)
		memcpy(name, a + 1, min(a->nla_len - sizeof(*a), sizeof(name) - 1));
	return if_nametoindex(name);
}

/* Is the program all that the message is about? What names the link sets nothing. */
static bool is_alone(struct nlmsghdr *h)
{
	const struct ifinfomsg *link = NLMSG_DATA(h);
	uint8_t *at = (uint8_t *)(link + 1), *end = (uint8_t *)h + h->nlmsg_len;
	struct nlattr *a;

	for (; at < end && (a = attr_at(at, (size_t)(end - at))); at += NLA_ALIGN(a->nla_len)) {
		switch (a->nla_type & NLA_TYPE_MASK) {
		case IFLA_XDP:
		case IFLA_EXT_MASK:
			break;
		case IFLA_IFNAME:
		case IFLA_ALT_IFNAME:
			if (link->ifi_index <= 0)
				break;
			return false;
		default:
			return false;
		}
	}
	return !link->ifi_flags && !link->ifi_change;
}

static int attach(struct skep_engine *e, const struct vm_caller *c, struct nlmsghdr *h,
		  struct nlattr *xdp, const char **why)
{
	uint32_t flags = number_in(xdp, IFLA_XDP_FLAGS, 0);

	if (!is_alone(h)) {
		*why = "skep exec: IFLA_XDP goes in a message of its own";
		return -EOPNOTSUPP;
	}
	if (inner_find(xdp, IFLA_XDP_ATTACHED) || inner_find(xdp, IFLA_XDP_PROG_ID))
		return -EINVAL;
	if (flags & XDP_FLAGS_REPLACE && !inner_find(xdp, IFLA_XDP_EXPECTED_FD))
		return -EINVAL;
	if (!inner_find(xdp, IFLA_XDP_FD))
		return 0;
	return vm_xdp_attach(e, c, ifindex_of(h), (int)number_in(xdp, IFLA_XDP_FD, 0),
			     (int)number_in(xdp, IFLA_XDP_EXPECTED_FD, 0), flags, why);
}

/* One message about the program of a link; NULL: something else. */
static struct nlattr *xdp_of(struct nlmsghdr *h, size_t n)
{
	if (n < NLMSG_LENGTH(sizeof(struct ifinfomsg)) || h->nlmsg_len > n ||
	    NLMSG_ALIGN(h->nlmsg_len) < n)
		return NULL;
	if (h->nlmsg_type != RTM_NEWLINK && h->nlmsg_type != RTM_SETLINK)
		return NULL;
	return link_find(h, IFLA_XDP);
}

/* The kernel acknowledges a no-op of the same number. */
static int stand_in(struct rtnl *r, int fd, const struct nlmsghdr *h, int error, const char *why)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct nlmsghdr nop = {.nlmsg_len = sizeof(nop),
			       .nlmsg_type = NLMSG_NOOP,
			       .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
			       .nlmsg_seq = h->nlmsg_seq,
			       .nlmsg_pid = h->nlmsg_pid};

	if (!error && !(h->nlmsg_flags & NLM_F_ACK))
		return 0;
	r->errors[r->next++ % RTNL_ERRORS] = (struct rtnl_error){
		.socket = inode_of(fd), .seq = h->nlmsg_seq, .error = error, .of = *h, .why = why};
	return sendto(fd, &nop, sizeof(nop), MSG_DONTWAIT, (struct sockaddr *)&kernel,
		      sizeof(kernel)) < 0
		       ? -errno
		       : 0;
}

bool rtnl_send(struct rtnl *r, const struct vm_caller *c, const struct seccomp_data *call,
	       bool head, long *rc)
{
	cleanup(fd_close) int fd = c->fd_get(c->arg, (int)call->args[0]);
	uint8_t message[SEND_MAX] __attribute__((aligned(8)));
	struct nlmsghdr *h = (void *)message;
	const char *why = NULL;
	struct nlattr *xdp;
	struct bytes b;
	int error;

	if (!is_rtnl(fd) || find_bytes(&b, c, call, head) || b.total > sizeof(message) ||
	    gather(&b, c, message))
		return false;
	xdp = xdp_of(h, b.total);
	if (!xdp)
		return false;
	error = attach(r->engine, c, h, xdp, &why);
	*rc = stand_in(r, fd, h, error, why);
	if (!*rc)
		*rc = (long)b.total;
	return true;
}

/* ---- receive -----------------------------------------------------------------------------------*/
/* What the kernel says of its programs gives way to what the engine has. */
static unsigned xdp_text(const struct vm_xdp *x, uint8_t out[static 64])
{
	uint8_t *at = out + sizeof(struct nlattr);
	struct nlattr id = {sizeof(id) + 4, IFLA_XDP_PROG_ID},
		      mode = {sizeof(mode) + 1, IFLA_XDP_ATTACHED};
	struct nlattr all = {0, IFLA_XDP};

	if (x->prog_id) {
		id.nla_type =
			x->mode == XDP_ATTACHED_SKB ? IFLA_XDP_SKB_PROG_ID : IFLA_XDP_DRV_PROG_ID;
		memcpy(at, &id, sizeof(id));
		memcpy(at + sizeof(id), &x->prog_id, 4);
		at += id.nla_len;
	}
	memcpy(at, &mode, sizeof(mode));
	memcpy(at + sizeof(mode), (uint8_t[4]){x->mode}, 4);
	at += NLA_ALIGN(mode.nla_len);
	if (x->prog_id) {
		id.nla_type = IFLA_XDP_PROG_ID;
		memcpy(at, &id, sizeof(id));
		memcpy(at + sizeof(id), &x->prog_id, 4);
		at += id.nla_len;
	}
	all.nla_len = (uint16_t)(at - out);
	memcpy(out, &all, sizeof(all));
	return all.nla_len;
}

/* Bytes by which the message grew, or shrank. @behind: bytes of later messages. */
static int tell_xdp(struct skep_engine *e, struct nlmsghdr *h, size_t behind, size_t room)
{
	const struct ifinfomsg *link = NLMSG_DATA(h);
	struct nlattr *a;
	struct vm_xdp x;
	uint8_t text[64], *end;
	size_t was;
	unsigned now;

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*link)))
		return 0;
	a = link_find(h, IFLA_XDP);
	vm_xdp_query(e, (uint32_t)link->ifi_index, &x);
	if (!a)
		return 0;
	now = xdp_text(&x, text);
	was = NLA_ALIGN(a->nla_len);
	if (now > was + room)
		return 0;
	end = (uint8_t *)h + NLMSG_ALIGN(h->nlmsg_len) + behind;
	memmove((uint8_t *)a + now, (uint8_t *)a + was, (size_t)(end - ((uint8_t *)a + was)));
	memcpy(a, text, now);
	h->nlmsg_len = (uint32_t)(h->nlmsg_len + now - was);
	return (int)now - (int)was;
}

static const struct rtnl_error *error_of(const struct rtnl *r, uint64_t socket, uint32_t seq)
{
	for (unsigned i = 0; i < RTNL_ERRORS; i++) {
		const struct rtnl_error *e = &r->errors[(r->next - 1 - i) % RTNL_ERRORS];

		if (e->socket == socket && e->seq == seq)
			return e;
	}
	return NULL;
}

static bool wants_words(int fd)
{
	int on = 0;
	socklen_t n = sizeof(on);

	return !getsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, &n) && on;
}

/* The words stand behind the head of the refused message, without what was in it. */
static int put_words(struct nlmsghdr *h, const char *why, size_t behind, size_t room)
{
	size_t len = strlen(why) + 1, grow = NLA_ALIGN(sizeof(struct nlattr) + len);
	struct nlattr a = {(uint16_t)(sizeof(a) + len), NLMSGERR_ATTR_MSG};
	uint8_t *end = (uint8_t *)h + NLMSG_ALIGN(h->nlmsg_len);

	if (grow > room)
		return 0;
	memmove(end + grow, end, behind);
	memset(end, 0, grow);
	memcpy(end, &a, sizeof(a));
	memcpy(end + sizeof(a), why, len);
	h->nlmsg_len = (uint32_t)(NLMSG_ALIGN(h->nlmsg_len) + grow);
	h->nlmsg_flags |= NLM_F_CAPPED | NLM_F_ACK_TLVS;
	return (int)grow;
}

static int tell_error(const struct rtnl *r, int fd, struct nlmsghdr *h, size_t behind, size_t room)
{
	struct nlmsgerr *err = NLMSG_DATA(h);
	const struct rtnl_error *e;

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*err)) || err->msg.nlmsg_type != NLMSG_NOOP)
		return 0;
	e = error_of(r, inode_of(fd), h->nlmsg_seq);
	if (!e)
		return 0;
	err->error = e->error;
	err->msg = e->of;
	return e->error && e->why && wants_words(fd) ? put_words(h, e->why, behind, room) : 0;
}

/* The answers of the kernel with those of the engine in their places. Return: their length. */
static size_t tell(const struct rtnl *r, int fd, uint8_t *at, size_t n, size_t room)
{
	size_t off = 0;

	while (off + sizeof(struct nlmsghdr) <= n) {
		struct nlmsghdr *h = (void *)(at + off);
		size_t len = NLMSG_ALIGN(h->nlmsg_len);
		int more = 0;

		if (h->nlmsg_len < sizeof(*h) || len > n - off)
			break;
		if (h->nlmsg_type == NLMSG_ERROR)
			more = tell_error(r, fd, h, n - off - len, room);
		else if (h->nlmsg_type == RTM_NEWLINK)
			more = tell_xdp(r->engine, h, n - off - len, room);
		n = (size_t)((ssize_t)n + more);
		room -= (size_t)max(more, 0);
		off += NLMSG_ALIGN(h->nlmsg_len);
	}
	return n;
}

/* Where it came from, and what of it did not fit. */
static int tell_head(const struct bytes *b, const struct vm_caller *c,
		     const struct sockaddr_nl *from, bool cut)
{
	struct msghdr head = b->head;
	socklen_t room = head.msg_namelen, len = sizeof(*from);

	if (!b->head_at && b->name && c->read(c->arg, &room, b->name_len_at, sizeof(room)))
		return -EFAULT;
	if (b->name && c->write(c->arg, b->name, from, min(room, len)))
		return -EFAULT;
	if (!b->head_at)
		return b->name ? c->write(c->arg, b->name_len_at, &len, sizeof(len)) : 0;
	head.msg_namelen = b->name ? len : 0;
	head.msg_controllen = 0;
	head.msg_flags = cut ? MSG_TRUNC : 0;
	return c->write(c->arg, b->head_at, &head, sizeof(head));
}

bool rtnl_receive(const struct rtnl *r, const struct vm_caller *c, const struct seccomp_data *call,
		  bool head, long *rc)
{
	cleanup(fd_close) int fd = c->fd_get(c->arg, (int)call->args[0]);
	uint8_t answer[RECEIVE_MAX + GROWTH] __attribute__((aligned(8)));
	struct sockaddr_nl from = {0};
	socklen_t from_len = sizeof(from);
	struct bytes b;
	size_t most, room;
	ssize_t n;
	bool cut;

	if (!is_rtnl(fd) || find_bytes(&b, c, call, head) || b.flags & MSG_ERRQUEUE)
		return false;
	/* Its length first: ours may be shorter, and what the caller has room for shorter still. */
	n = recvfrom(fd, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT, NULL, NULL);
	most = n > (ssize_t)b.total ? (size_t)n : b.total;
	room = min(most, (size_t)RECEIVE_MAX);
	if (n >= 0)
		n = recvfrom(fd, answer, room, (b.flags & MSG_PEEK) | MSG_DONTWAIT,
			     (struct sockaddr *)&from, &from_len);
	if (n < 0 && errno != ENOBUFS)
		return false; /* N3 */
	if (n < 0) {	      /* the kernel says it once, and has said it to us */
		*rc = -errno;
		return true;
	}
	n = (ssize_t)tell(r, fd, answer, (size_t)n, GROWTH);
	cut = (size_t)n > b.total;
	if (scatter(&b, c, answer, (size_t)n) || tell_head(&b, c, &from, cut))
		*rc = -EFAULT;
	else
		*rc = cut && !(b.flags & MSG_TRUNC) ? (long)b.total : n;
	return true;
}
