/* SPDX-License-Identifier: Apache-2.0 */
/*
 * selftest_kernel.h: what the table of lib/test_bpf.c names of the kernel, as user space has it.
 */
#ifndef SELFTEST_KERNEL_H
#define SELFTEST_KERNEL_H

typedef uint64_t u64;
typedef int64_t s64;
typedef uint32_t u32;
typedef int32_t s32;
typedef uint16_t u16;
typedef uint8_t u8;

#define BIT(n)	     (1U << (n))
#define GFP_KERNEL   0
#define BPF_MAXINSNS 4096
#define __initconst
#define kmalloc_array(n, size, flags) calloc(n, size)
#define kmalloc(size, flags)	      calloc(1, size)
#define kzalloc(size, flags)	      calloc(1, size)
#define kcalloc(n, size, flags)	      calloc(n, size)
#define kfree			      free
#define ARRAY_SIZE(a)		      (sizeof(a) / sizeof((a)[0]))

/* Classic BPF, which insns.c leaves out but the table has to compile. */
#define __BPF_STMT(c, value)	     ((struct sock_filter){(c), 0, 0, (value)})
#define __BPF_JUMP(c, value, jt, jf) ((struct sock_filter){(c), (jt), (jf), (value)})
#define BPF_LL_OFF		     SKF_LL_OFF
#define BPF_NET_OFF		     SKF_NET_OFF

#define S16_MAX INT16_MAX
#define S16_MIN INT16_MIN
#define S32_MAX INT32_MAX
#define S32_MIN INT32_MIN
#define S64_MAX INT64_MAX
#define S64_MIN INT64_MIN
#define U16_MAX UINT16_MAX
#define U32_MAX UINT32_MAX
#define U64_MAX UINT64_MAX

/* The kernel's mark of a big-endian machine; <endian.h> always defines it. */
#undef __BIG_ENDIAN

/* Constants in the table's initializers. x86-64 and arm64: the host is little-endian. */
#undef cpu_to_be16
#undef cpu_to_be32
#undef cpu_to_be64
#undef cpu_to_le16
#undef cpu_to_le32
#undef cpu_to_le64
#define cpu_to_be16(x) __builtin_bswap16(x)
#define cpu_to_be32(x) __builtin_bswap32(x)
#define cpu_to_be64(x) __builtin_bswap64(x)
#define cpu_to_le16(x) ((u16)(x))
#define cpu_to_le32(x) ((u32)(x))
#define cpu_to_le64(x) ((u64)(x))

/* Instructions that user space's <linux/filter.h> of the kernel's tools does not write. */
#define INSN(c, d, s, o, i) \
	((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})
#ifndef BPF_MEMSX
#define BPF_MEMSX 0x80
#endif
#define BPF_LDX_MEMSX(size, dst, src, off) \
	INSN(BPF_LDX | BPF_SIZE(size) | BPF_MEMSX, dst, src, off, 0)
#define BPF_BSWAP(dst, bits)		     INSN(BPF_ALU64 | BPF_END | BPF_TO_LE, dst, 0, 0, bits)
#define BPF_ALU64_REG_OFF(op, dst, src, off) INSN(BPF_ALU64 | BPF_OP(op) | BPF_X, dst, src, off, 0)
#define BPF_ALU32_REG_OFF(op, dst, src, off) INSN(BPF_ALU | BPF_OP(op) | BPF_X, dst, src, off, 0)
#define BPF_ALU64_IMM_OFF(op, dst, imm, off) INSN(BPF_ALU64 | BPF_OP(op) | BPF_K, dst, 0, off, imm)
#define BPF_ALU32_IMM_OFF(op, dst, imm, off) INSN(BPF_ALU | BPF_OP(op) | BPF_K, dst, 0, off, imm)
#define BPF_MOVSX64_REG(dst, src, bits)	     INSN(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, bits, 0)
#define BPF_MOVSX32_REG(dst, src, bits)	     INSN(BPF_ALU | BPF_MOV | BPF_X, dst, src, bits, 0)
#define BPF_JMP32_A(imm)		     INSN(BPF_JMP32 | BPF_JA, 0, 0, 0, imm)
#define BPF_ZEXT_REG(dst)		     INSN(BPF_ALU | BPF_MOV | BPF_X, dst, dst, 0, 1)

#define BUG_ON(wrong)	       ((wrong) ? abort() : (void)0)
#define max(a, b)	       ((a) > (b) ? (a) : (b))
#define div64_u64(a, b)	       ((u64)(a) / (u64)(b))
#define div64_u64_rem(a, b, r) (*(r) = (u64)(a) % (u64)(b), (u64)(a) / (u64)(b))

struct rnd_state {
	u32 s[4];
};
static inline void prandom_seed_state(struct rnd_state *rnd, u64 seed)
{
	rnd->s[0] = (u32)seed;
}
static inline u32 prandom_u32_state(struct rnd_state *rnd)
{
	return rnd->s[0] = rnd->s[0] * 1664525 + 1013904223;
}

#endif
