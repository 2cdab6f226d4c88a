// SPDX-License-Identifier: Apache-2.0
/* Maps of sockets beside the kernel's: the same calls with the same sockets, results and errno. */
#include "vm/sides.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

enum { TCP, LISTENER, UDP, UDP_UNBOUND, UNIX, RAW, FILE_, N_FDS };

static int fds[N_FDS];

static int inet(int type, bool reuse, bool bind_it)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, type, 0), one = 1;

	if (reuse)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (bind_it)
		assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void open_fds(void)
{
	int pair[2];

	fds[TCP] = inet(SOCK_STREAM, false, false);
	fds[LISTENER] = inet(SOCK_STREAM, true, true);
	assert_int_equal(listen(fds[LISTENER], 1), 0);
	fds[UDP] = inet(SOCK_DGRAM, true, true);
	fds[UDP_UNBOUND] = inet(SOCK_DGRAM, true, false);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	fds[UNIX] = pair[0];
	fds[RAW] = socket(AF_INET, SOCK_RAW, IPPROTO_UDP);
	fds[FILE_] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static long element(unsigned side, unsigned cmd, int fd, uint64_t *key, uint64_t *value,
		    uint64_t flags)
{
	union bpf_attr a;

	zeroed(a);
	a.map_fd = (uint32_t)fd;
	a.key = (uintptr_t)key;
	a.value = (uintptr_t)value;
	a.flags = flags;
	return call(side, cmd, &a);
}

static long both(const char *what, struct code *maps, unsigned cmd, uint64_t key, uint64_t value,
		 uint64_t flags)
{
	uint64_t got[2] = {value, value};
	long rc[2];

	for (unsigned s = 0; s < 2; s++)
		rc[s] = element(s, cmd, maps->maps[s], &key, &got[s], flags);
	if (rc[0] == rc[1] && got[0] == got[1])
		return rc[0];
	differ++;
	print_error("%s, key %llu value %llu flags %llu: kernel %ld %llx, engine %ld %llx\n", what,
		    (unsigned long long)key, (unsigned long long)value, (unsigned long long)flags,
		    rc[0], (unsigned long long)got[0], rc[1], (unsigned long long)got[1]);
	return rc[0];
}

/* The order of a hash is nobody's promise. */
static void walk(struct code *maps, uint32_t value_size, bool ordered)
{
	static const uint64_t keys[] = {0, 3, 1, 4, 0xffffffff};
	unsigned k, i, f;

	for (f = 0; f < 4; f++)
		for (k = 0; k < 5; k++)
			for (i = 0; i < N_FDS; i++) {
				both("update", maps, BPF_MAP_UPDATE_ELEM, keys[k], (uint32_t)fds[i],
				     f);
				if (f < 1)
					both("lookup", maps, BPF_MAP_LOOKUP_ELEM, keys[k], 0, 0);
				if (f == 1 || (f == 3 && i == 3))
					both("delete", maps, BPF_MAP_DELETE_ELEM, keys[k], 0, 0);
			}
	both("update", maps, BPF_MAP_UPDATE_ELEM, 0, 99999, 0);
	if (value_size == 8)
		both("update", maps, BPF_MAP_UPDATE_ELEM, 0, 1ULL << 40, 0);
	for (k = 0; ordered && k < 5; k++)
		both("next", maps, BPF_MAP_GET_NEXT_KEY, keys[k], 0, 0);
}

static void sockets_are_taken_and_refused_alike(void **state maybe_unused)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_SOCKMAP, BPF_MAP_TYPE_SOCKHASH,
					 BPF_MAP_TYPE_REUSEPORT_SOCKARRAY};
	unsigned t, size;

	for (t = 0; t < 3; t++)
		for (size = 4; size <= 8; size += 4) {
			struct code maps = {.n = 0};

			open_fds(); /* the kernel lets go of those of a closed map when it may */
			maps_make(&maps, types[t], 4, size, 4);
			print_message("map type %u, values of %u\n", types[t], size);
			walk(&maps, size, types[t] != BPF_MAP_TYPE_SOCKHASH);
			maps_close(&maps);
			for (unsigned i = 0; i < N_FDS; i++)
				close(fds[i]);
		}
	assert_int_equal(differ, 0);
}

/* Both hosts cannot share the sockets of an array of one port: the kernel's would have them all. */
static void an_entry_goes_with_its_socket(void **state maybe_unused)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_SOCKMAP, BPF_MAP_TYPE_SOCKHASH};
	unsigned t;

	for (t = 0; t < 2; t++) {
		struct code maps = {.n = 0};
		int fd = inet(SOCK_DGRAM, false, true);

		maps_make(&maps, types[t], 4, 8, 4);
		assert_int_equal(both("update", &maps, BPF_MAP_UPDATE_ELEM, 1, (uint32_t)fd, 0), 0);
		assert_int_equal(both("lookup", &maps, BPF_MAP_LOOKUP_ELEM, 1, 0, 0), 0);
		close(fd);
		assert_int_equal(both("lookup", &maps, BPF_MAP_LOOKUP_ELEM, 1, 0, 0), -ENOENT);
		maps_close(&maps);
	}
	assert_int_equal(differ, 0);
}

static void shapes_are_refused_alike(void **state maybe_unused)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_SOCKMAP, BPF_MAP_TYPE_SOCKHASH,
					 BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, BPF_MAP_TYPE_XSKMAP};
	static const uint32_t keys[] = {0, 4, 8, 512, 513}, values[] = {0, 4, 8, 16},
			      max[] = {0, 1, 5};
	unsigned t, k, v, m, flags, s;

	for (t = 0; t < 4; t++)
		for (k = 0; k < 5; k++)
			for (v = 0; v < 4; v++)
				for (m = 0; m < 3; m++)
					for (flags = 0; flags < 3; flags++) {
						long rc[2];

						for (s = 0; s < 2; s++) {
							union bpf_attr a;

							zeroed(a);
							a.map_type = types[t];
							a.key_size = keys[k];
							a.value_size = values[v];
							a.max_entries = max[m];
							a.map_flags = flags;
							rc[s] = call(s, BPF_MAP_CREATE, &a);
							if (rc[s] >= 0) {
								close((int)rc[s]);
								rc[s] = 0;
							}
						}
						if (rc[0] == rc[1])
							continue;
						differ++;
						print_error(
							"type %u key %u value %u max %u flags %u: "
							"kernel %ld, engine %ld\n",
							types[t], keys[k], values[v], max[m], flags,
							rc[0], rc[1]);
					}
	assert_int_equal(differ, 0);
}

static long attachment(unsigned s, unsigned cmd, int map, int prog, uint32_t type, uint32_t *count)
{
	union bpf_attr a;
	uint32_t id = 0;
	long rc;

	zeroed(a);
	if (cmd == BPF_PROG_QUERY) {
		a.query.target_fd = (uint32_t)map;
		a.query.attach_type = type;
		a.query.prog_ids = (uintptr_t)&id;
		a.query.prog_cnt = *count;
	} else {
		a.target_fd = (uint32_t)map;
		a.attach_bpf_fd = (uint32_t)prog;
		a.attach_type = type;
	}
	rc = call(s, cmd, &a);
	*count = cmd == BPF_PROG_QUERY ? a.query.prog_cnt : 0;
	return rc;
}

static void programs_of_maps_come_and_go_alike(void **state maybe_unused)
{
	static const uint32_t maps[] = {BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_SOCKMAP,
					BPF_MAP_TYPE_SOCKHASH, BPF_MAP_TYPE_QUEUE};
	static const uint32_t types[] = {BPF_SK_SKB_STREAM_PARSER, BPF_SK_SKB_STREAM_VERDICT,
					 BPF_SK_SKB_VERDICT, BPF_SK_MSG_VERDICT};
	static const unsigned cmds[] = {BPF_PROG_QUERY,	 BPF_PROG_DETACH, BPF_PROG_ATTACH,
					BPF_PROG_QUERY,	 BPF_PROG_ATTACH, BPF_PROG_DETACH,
					BPF_PROG_DETACH, BPF_PROG_QUERY};
	unsigned m, t, c, s;

	for (m = 0; m < array_size(maps); m++) {
		struct code made = {.n = 0}, body = {.n = 0};

		maps_make(&made, maps[m], maps[m] == BPF_MAP_TYPE_QUEUE ? 0 : 4, 4, 4);
		add(&body, MOV(0, 1), EXIT());
		for (t = 0; t < array_size(types); t++) {
			bool msg = types[t] == BPF_SK_MSG_VERDICT;
			int prog[2];

			for (s = 0; s < 2; s++)
				prog[s] = load(s, msg ? BPF_PROG_TYPE_SK_MSG : BPF_PROG_TYPE_SK_SKB,
					       &body);
			for (c = 0; c < array_size(cmds); c++) {
				uint32_t n[2] = {1, 1};
				long rc[2];

				for (s = 0; s < 2; s++)
					rc[s] = attachment(s, cmds[c], made.maps[s], prog[s],
							   types[t], &n[s]);
				if (rc[0] == rc[1] && n[0] == n[1])
					continue;
				differ++;
				print_error("map type %u, attach type %u, call %u (%u): kernel %ld "
					    "%u, engine %ld %u\n",
					    maps[m], types[t], cmds[c], c, rc[0], n[0], rc[1],
					    n[1]);
			}
			for (s = 0; s < 2; s++)
				close(prog[s]);
		}
		maps_close(&made);
	}
	assert_int_equal(differ, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(sockets_are_taken_and_refused_alike, begin),
		cmocka_unit_test_setup(an_entry_goes_with_its_socket, begin),
		cmocka_unit_test_setup(shapes_are_refused_alike, begin),
		cmocka_unit_test_setup(programs_of_maps_come_and_go_alike, begin),
	};

	return cmocka_run_group_tests_name("vm: maps of sockets beside the kernel's", tests,
					   open_engines, close_engines);
}
