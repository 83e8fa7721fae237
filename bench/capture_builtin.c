/* The recording that comes with the program: capture.tsv, put into it by the assembler.
 *
 * An excerpt of what a Synapse 1.160 with seven workers published: its start, rooms being made (batches), users
 * moving about, messages, and two restarts of its Redis server. Access tokens, addresses and user agents are
 * masked. CMake names the file, and compiles this one without link-time optimisation, which may
 * lose symbols that only the assembler knows.
 */
extern const char capture_builtin_start[];
extern const char capture_builtin_end[];

__asm__(".pushsection .rodata\n"
	".globl capture_builtin_start\n"
	"capture_builtin_start:\n"
	".incbin \"" MILLRACE_CAPTURE "\"\n"
	".globl capture_builtin_end\n"
	"capture_builtin_end:\n"
	".byte 0\n"
	".popsection\n");
