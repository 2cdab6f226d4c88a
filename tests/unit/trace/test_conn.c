// SPDX-License-Identifier: Apache-2.0
/* Sockets as the kernel half tells of them, rows as SQL shows them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/tcp.h>

#include "rows.h"
#include "host/host.h"
#include "trace/conn.h"
#include "who/who.h"

struct fixture {
	struct store *store;
	struct who *who;
	struct names *names;
	struct conn_table *table;
	char events[1024];
};

static void on_emit(void *arg, const char *event, const struct store_table *t maybe_unused,
		    const uint64_t *row maybe_unused)
{
	struct fixture *f = arg;

	strcat(f->events, event);
	strcat(f->events, " ");
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct cap_env env = {.emit = on_emit, .emit_arg = f};

	assert_int_equal(store_open(&f->store, NULL), 0);
	assert_int_equal(who_open(&f->who, 1024, NULL), 0);
	assert_int_equal(names_open(&f->names, 64), 0);
	env.store = f->store;
	env.who = f->who;
	assert_int_equal(conn_open(&f->table, &env, f->names, 1 << 20, 8, NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	conn_free(f->table);
	names_free(f->names);
	store_free(f->store);
	who_free(f->who);
	free(f);
	return 0;
}

static struct trace_ends ends(const char *local, unsigned lport, const char *remote, unsigned rport)
{
	struct trace_ends e = {
		.local_port = (uint16_t)lport, .remote_port = (uint16_t)rport, .netns = 7};

	e.family = strchr(local, ':') ? AF_INET6 : AF_INET;
	assert_int_equal(inet_pton(e.family, local, e.local), 1);
	assert_int_equal(inet_pton(e.family, remote, e.remote), 1);
	return e;
}

static struct trace_tcp tcp(uint64_t cookie, uint32_t flags, uint32_t pid, struct trace_ends e)
{
	struct trace_tcp t = {.cookie = cookie, .ends = e, .state = TCP_ESTABLISHED};

	t.head.time = t.mark.opened = host_boot_now();
	t.mark.flags = flags;
	t.mark.owner.pid = pid;
	t.mark.owner.start = pid;
	snprintf(t.mark.owner.comm, sizeof(t.mark.owner.comm), "p%u", pid);
	return t;
}

static void see(struct fixture *f, const struct trace_tcp *t)
{
	conn_sample_begin(f->table, host_boot_now());
	conn_sample(f->table, t);
}

static void end(struct fixture *f, struct trace_tcp *t)
{
	t->head.kind = TRACE_CLOSE;
	t->head.time = host_boot_now();
	conn_close(f->table, t);
}

static void both_ends_of_a_local_connection_know_each_other(void **state)
{
	struct fixture *f = *state;
	struct trace_tcp a = tcp(1, TRACE_OUT, 100, ends("10.0.0.1", 4000, "10.0.0.2", 80));
	struct trace_tcp b = tcp(2, TRACE_IN, 200, ends("10.0.0.2", 80, "10.0.0.1", 4000));

	see(f, &a);
	see(f, &b);
	a.bytes_sent = b.bytes_received = 70;
	a.bytes_received = b.bytes_sent = 900;
	end(f, &a);
	end(f, &b);
	assert_string_equal(
		rows(f->store,
		     "select direction, pid, remote_pid, remote_comm, remote_service, "
		     "bytes_sent, bytes_received, state, ended >= time, error from connection"),
		"out,100,200,p200,p200,70,900,closed,1,-\n"
		"in,200,100,p100,p100,900,70,closed,1,-\n");
	assert_string_equal(f->events,
			    "connection.open connection.open connection.close connection.close ");
}

static void ends_first_heard_of_at_their_close_are_whole(void **state)
{
	struct fixture *f = *state;
	struct trace_tcp a = tcp(1, TRACE_OUT, 100, ends("10.0.0.1", 4000, "10.0.0.2", 80));
	struct trace_tcp b = tcp(2, TRACE_IN, 200, ends("10.0.0.2", 80, "10.0.0.1", 4000));
	struct conn_stat stat;

	a.bytes_sent = b.bytes_received = 70;
	a.bytes_received = b.bytes_sent = 900;
	a.packets_sent = b.packets_received = 5;
	a.packets_received = b.packets_sent = 4;
	a.rtt_us = 33;
	a.retransmits = 2;
	a.error = ECONNRESET;
	end(f, &b);
	end(f, &a);
	assert_string_equal(
		rows(f->store,
		     "select direction, pid, comm, remote_pid, remote_comm, remote_service, "
		     "bytes_sent, bytes_received, packets_sent, packets_received, rtt_us, "
		     "retransmits, state, ended >= time, error, origin from connection"),
		"in,200,p200,100,p100,p100,900,70,4,5,-,0,closed,1,-,event\n"
		"out,100,p100,200,p200,p200,70,900,5,4,33,2,closed,1,ECONNRESET,event\n");
	assert_string_equal(f->events, "connection.close connection.close ");
	conn_count(f->table, &stat); /* nothing more can be learned of them */
	assert_int_equal(stat.known, 0);
}

static void a_new_owner_is_told_to_the_other_end(void **state)
{
	struct fixture *f = *state;
	struct trace_tcp a = tcp(1, TRACE_OUT, 100, ends("10.0.0.1", 4000, "10.0.0.2", 80));
	struct trace_tcp b = tcp(2, TRACE_IN, 200, ends("10.0.0.2", 80, "10.0.0.1", 4000));

	see(f, &a);
	see(f, &b);
	b.mark.owner.pid = 201;
	see(f, &b);
	assert_string_equal(rows(f->store, "select pid, remote_pid from connection"),
			    "100,201\n201,100\n");
}

static void an_ipv6_socket_meets_its_ipv4_peer(void **state)
{
	struct fixture *f = *state;
	struct trace_tcp a = tcp(1, TRACE_OUT, 100, ends("127.0.0.1", 4000, "127.0.0.1", 80));
	struct trace_tcp b =
		tcp(2, TRACE_IN, 200, ends("::ffff:127.0.0.1", 80, "::ffff:127.0.0.1", 4000));

	see(f, &a);
	see(f, &b);
	assert_string_equal(rows(f->store, "select local_addr, remote_pid from connection"),
			    "127.0.0.1,200\n127.0.0.1,100\n");
}

static void loopback_of_another_namespace_is_another_address(void **state)
{
	struct fixture *f = *state;
	struct trace_tcp a = tcp(1, TRACE_OUT, 100, ends("127.0.0.1", 4000, "127.0.0.1", 80));
	struct trace_tcp b = tcp(2, TRACE_IN, 200, ends("127.0.0.1", 80, "127.0.0.1", 4000));

	b.ends.netns = 8;
	see(f, &a);
	see(f, &b);
	assert_string_equal(rows(f->store, "select remote_pid from connection"), "-\n-\n");
}

static void ports_that_are_used_again_at_once_meet_their_new_peers(void **state)
{
	struct fixture *f = *state;
	uint64_t i;

	for (i = 0; i < 3; i++) {
		struct trace_tcp a =
			tcp(2 * i + 1, TRACE_OUT, 100, ends("10.0.0.1", 4000, "10.0.0.2", 80));
		struct trace_tcp b =
			tcp(2 * i + 2, TRACE_IN, 200, ends("10.0.0.2", 80, "10.0.0.1", 4000));

		see(f, &a);
		see(f, &b);
		end(f, &b);
		end(f, &a);
	}
	assert_string_equal(rows(f->store, "select count(*), count(remote_pid) from connection"),
			    "6,6\n");
}

static void a_failed_connect_is_one_row_with_its_errno(void **state)
{
	struct fixture *f = *state;
	struct trace_tcp a = tcp(1, TRACE_OUT, 100, ends("10.0.0.1", 4000, "10.0.0.2", 81));

	a.mark.flags = TRACE_OUT;
	a.state = TCP_SYN_SENT;
	a.error = ECONNREFUSED;
	end(f, &a);
	assert_string_equal(rows(f->store, "select state, error, ended is null from connection"),
			    "failed,ECONNREFUSED,0\n");
	/* the same socket tries again */
	a.mark.opened = host_boot_now() + 1;
	a.error = ETIMEDOUT;
	a.head.time = a.mark.opened + 5;
	a.head.kind = TRACE_CLOSE;
	conn_close(f->table, &a);
	assert_string_equal(rows(f->store, "select error from connection"),
			    "ECONNREFUSED\nETIMEDOUT\n");
}

static void the_name_that_was_looked_up_stands_beside_the_address(void **state)
{
	struct fixture *f = *state;
	struct trace_tcp a = tcp(1, TRACE_OUT, 100, ends("10.0.0.1", 4000, "10.0.0.2", 80));

	names_put(f->names, 7, AF_INET, a.ends.remote, "shop.example", 60, host_boot_now());
	see(f, &a);
	assert_string_equal(
		rows(f->store, "select remote_name, remote_service, remote_addr from connection"),
		"shop.example,shop.example,10.0.0.2\n");
}

static void a_scan_tells_direction_by_the_listeners(void **state)
{
	struct fixture *f = *state;
	struct trace_tcp a = tcp(1, TRACE_OLD, 200, ends("10.0.0.2", 80, "10.0.0.1", 4000));
	struct trace_tcp b = tcp(2, TRACE_OLD, 100, ends("10.0.0.1", 4000, "10.0.0.2", 80));
	struct trace_tcp l = tcp(3, TRACE_OLD, 200, ends("0.0.0.0", 80, "0.0.0.0", 0));

	l.state = TCP_LISTEN;
	conn_scan(f->table, &a);
	conn_scan(f->table, &b);
	conn_scan(f->table, &l);
	conn_scan_end(f->table);
	assert_string_equal(
		rows(f->store,
		     "select direction, origin, pid, remote_pid from connection order by 1"),
		"in,scan,200,100\nout,scan,100,200\n");
}

static void a_connection_missing_from_two_samples_has_ended(void **state)
{
	struct fixture *f = *state;
	struct trace_tcp a = tcp(1, TRACE_OUT, 100, ends("10.0.0.1", 4000, "10.0.0.2", 80));
	struct conn_stat stat;

	see(f, &a);
	conn_sample_begin(f->table, host_boot_now());
	a.bytes_sent = 5;
	conn_sample(f->table, &a);
	conn_sample_end(f->table, true);
	assert_string_equal(rows(f->store, "select bytes_sent, ended is null from connection"),
			    "5,1\n");
	for (int i = 0; i < 3; i++) { /* a look that did not reach all tells nothing */
		conn_sample_begin(f->table, host_boot_now());
		conn_sample_end(f->table, false);
	}
	assert_string_equal(rows(f->store, "select ended is null from connection"), "1\n");
	conn_sample_begin(f->table, host_boot_now());
	conn_sample_end(f->table, true);
	assert_string_equal(rows(f->store, "select ended is null from connection"), "1\n");
	conn_sample_begin(f->table, host_boot_now());
	conn_sample_end(f->table, true);
	assert_string_equal(rows(f->store, "select ended is null from connection"), "0\n");
	conn_count(f->table, &stat);
	assert_int_equal(stat.vanished, 1);
}

static void ended_connections_are_forgotten_after_a_while_and_their_room_is_used_again(void **state)
{
	struct fixture *f = *state;
	struct conn_stat stat;
	unsigned round, i;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < 9; i++) {
			struct trace_tcp a = tcp(round * 10 + i + 1, TRACE_OUT, 100,
						 ends("10.0.0.1", 4000 + i, "10.0.0.2", 80));

			see(f, &a);
			end(f, &a);
		}
		conn_count(f->table, &stat);
		assert_int_equal(stat.known, 8);
		assert_int_equal(stat.refused,
				 (round + 1) * 2); /* the ninth: its open and its close */
		conn_sample_begin(f->table, host_boot_now() + 3000000000ULL);
		conn_sample_end(f->table, true);
		conn_count(f->table, &stat);
		assert_int_equal(stat.known, 0);
	}
	assert_string_equal(rows(f->store, "select count(*) from connection"), "24\n");
}

static void a_udp_port_that_is_used_again_meets_the_server_anew(void **state)
{
	struct fixture *f = *state;
	struct trace_flow_key server = {.cookie = 1,
					.ends = ends("10.0.0.2", 53, "10.0.0.1", 5000)};
	struct trace_flow_key client = {.cookie = 2,
					.ends = ends("10.0.0.1", 5000, "10.0.0.2", 53)};
	struct trace_flow in = {.opened = host_boot_now(), .flags = TRACE_IN, .owner.pid = 200};
	struct trace_flow out = {.opened = host_boot_now(), .flags = TRACE_OUT, .owner.pid = 100};

	server.ends.netns = client.ends.netns = 0;
	conn_sample_begin(f->table, host_boot_now());
	conn_flow(f->table, &server, &in, false);
	conn_flow(f->table, &client, &out, false);
	client.cookie = 3;
	out.owner.pid = 101;
	conn_flow(f->table, &client, &out, false);
	assert_string_equal(rows(f->store, "select pid, remote_pid from connection"),
			    "200,101\n100,200\n101,200\n");
}

static void a_scanned_connection_on_its_way_out_has_not_failed(void **state)
{
	struct fixture *f = *state;
	struct trace_tcp a = tcp(1, TRACE_OUT, 100, ends("10.0.0.1", 4000, "10.0.0.2", 80));

	a.mark.flags = TRACE_OLD;
	a.state = TCP_LAST_ACK;
	end(f, &a);
	assert_string_equal(rows(f->store, "select state from connection"), "closed\n");
}

static void a_udp_flow_grows_and_ends(void **state)
{
	struct fixture *f = *state;
	struct trace_flow_key key = {.cookie = 9, .ends = ends("10.0.0.1", 5000, "10.0.0.2", 53)};
	struct trace_flow flow = {.opened = host_boot_now(),
				  .flags = TRACE_OUT,
				  .bytes_sent = 10,
				  .packets_sent = 1,
				  .netns = 7};

	key.ends.netns = 0;
	flow.owner.pid = 100;
	flow.last = flow.opened;
	conn_sample_begin(f->table, host_boot_now());
	conn_flow(f->table, &key, &flow, false);
	flow.bytes_received = 90;
	flow.packets_received = 2;
	conn_flow(f->table, &key, &flow, true);
	assert_string_equal(
		rows(f->store,
		     "select proto, direction, bytes_sent, bytes_received, packets_received, "
		     "netns, state, ended is null from connection"),
		"udp,out,10,90,2,7,closed,0\n");
	assert_string_equal(f->events, "connection.open connection.close ");
	/* the same ends talk again while the last flow lingers: another row */
	flow.bytes_sent = 3;
	conn_flow(f->table, &key, &flow, false);
	assert_string_equal(rows(f->store, "select bytes_sent, ended is null from connection"),
			    "10,0\n3,1\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(both_ends_of_a_local_connection_know_each_other),
		T(ends_first_heard_of_at_their_close_are_whole),
		T(a_new_owner_is_told_to_the_other_end),
		T(an_ipv6_socket_meets_its_ipv4_peer),
		T(loopback_of_another_namespace_is_another_address),
		T(ports_that_are_used_again_at_once_meet_their_new_peers),
		T(a_failed_connect_is_one_row_with_its_errno),
		T(the_name_that_was_looked_up_stands_beside_the_address),
		T(a_scan_tells_direction_by_the_listeners),
		T(a_connection_missing_from_two_samples_has_ended),
		T(ended_connections_are_forgotten_after_a_while_and_their_room_is_used_again),
		T(a_udp_port_that_is_used_again_meets_the_server_anew),
		T(a_scanned_connection_on_its_way_out_has_not_failed),
		T(a_udp_flow_grows_and_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
