# millrace_library(<name> SOURCES <file>... LIBS <target>...)
# A static library of ours. Without sources yet it is an empty one that only passes its LIBS on.
function(millrace_library name)
	cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "SOURCES;LIBS")
	if(ARG_SOURCES)
		add_library(${name} STATIC ${ARG_SOURCES})
		target_link_libraries(${name} PUBLIC millrace_options ${ARG_LIBS})
		millrace_link_time_optimisation(${name})
	else()
		add_library(${name} INTERFACE)
		target_link_libraries(${name} INTERFACE millrace_options ${ARG_LIBS})
	endif()
endfunction()

# millrace_program(<name> SOURCES <file>... LIBS <target>...)
# An executable of ours, on jemalloc. Without sources yet there is none.
function(millrace_program name)
	cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "SOURCES;LIBS")
	if(ARG_SOURCES)
		add_executable(${name} ${ARG_SOURCES})
		target_link_libraries(${name} PRIVATE millrace_allocator millrace_options ${ARG_LIBS})
		set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
		millrace_link_time_optimisation(${name})
	endif()
endfunction()

# MILLRACE_LTO comes from the preset `release`.
function(millrace_link_time_optimisation target)
	if(MILLRACE_LTO)
		set_target_properties(${target} PROPERTIES INTERPROCEDURAL_OPTIMIZATION ON)
	endif()
endfunction()

# What a sanitizer is to do in a test: end it with a status that is not the one of a failed check.
set(MILLRACE_TEST_ENVIRONMENT
	"ASAN_OPTIONS=exitcode=99:detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1"
	"LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/lsan.supp:print_suppressions=0"
	"UBSAN_OPTIONS=print_stacktrace=1"
	"TSAN_OPTIONS=exitcode=99:halt_on_error=0:second_deadlock_stack=1:suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp"
	"MILLRACE_SOURCE=${PROJECT_SOURCE_DIR}"
	"MILLRACE_BUILD=${PROJECT_BINARY_DIR}"
	"MILLRACED=${PROJECT_BINARY_DIR}/millraced"
	"MILLRACE_BENCH=${PROJECT_BINARY_DIR}/millrace-bench")

# Every test: labels, environment, and 77 for "this machine lacks what it needs".
function(millrace_test_properties name timeout labels)
	set_tests_properties(${name} PROPERTIES
		LABELS "${labels}"
		ENVIRONMENT "${MILLRACE_TEST_ENVIRONMENT}"
		SKIP_RETURN_CODE 77
		TIMEOUT ${timeout})
endfunction()

# millrace_test(<name> SOURCES <file>... LIBS <target>... LABELS unit|sim|fuzz|live|threads... [TIMEOUT s])
# One CUnit program, test_<name>, run in the tests' folder; label `threads` has it run under TSan, too.
# TESTS_DIR is the tests' folder, for fixtures.
function(millrace_test name)
	cmake_parse_arguments(PARSE_ARGV 1 ARG "" "TIMEOUT" "SOURCES;LIBS;LABELS")
	if(NOT ARG_LABELS)
		set(ARG_LABELS unit)
	endif()
	if(NOT ARG_TIMEOUT)
		set(ARG_TIMEOUT 120)
	endif()
	add_executable(test_${name} ${ARG_SOURCES})
	target_link_libraries(test_${name} PRIVATE
		millrace_allocator millrace_options ${ARG_LIBS} PkgConfig::CUNIT Threads::Threads)
	target_compile_definitions(test_${name} PRIVATE TESTS_DIR="${PROJECT_SOURCE_DIR}/tests")
	millrace_link_time_optimisation(test_${name})
	add_test(NAME ${name} COMMAND test_${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}/tests)
	millrace_test_properties(${name} ${ARG_TIMEOUT} "${ARG_LABELS}")
endfunction()

# millrace_script_test(<name> COMMAND <word>... LABELS <label>... [TIMEOUT s]): a test that is a script.
function(millrace_script_test name)
	cmake_parse_arguments(PARSE_ARGV 1 ARG "" "TIMEOUT" "COMMAND;LABELS")
	if(NOT ARG_TIMEOUT)
		set(ARG_TIMEOUT 120)
	endif()
	add_test(NAME ${name} COMMAND ${ARG_COMMAND} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
	millrace_test_properties(${name} ${ARG_TIMEOUT} "${ARG_LABELS}")
endfunction()

# millrace_fuzz(<name> SOURCES <file>... LIBS <target>... CORPUS <folder>)
# A program fuzz_<name> around LLVMFuzzerTestOneInput(). In the preset `fuzz` it is a libFuzzer target; elsewhere
# tests/fuzz_main.c plays the corpus and mutations of it, from a seed. Its test is a short run of that.
function(millrace_fuzz name)
	cmake_parse_arguments(PARSE_ARGV 1 ARG "" "CORPUS" "SOURCES;LIBS")
	get_filename_component(corpus ${ARG_CORPUS} ABSOLUTE)
	add_executable(fuzz_${name} ${ARG_SOURCES})
	target_link_libraries(fuzz_${name} PRIVATE millrace_allocator millrace_options ${ARG_LIBS})
	if("fuzzer" IN_LIST MILLRACE_SANITIZE)
		target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
		# New inputs go to the first folder, in the build tree; the corpus in the sources is only read.
		set(found ${PROJECT_BINARY_DIR}/found/${name})
		file(MAKE_DIRECTORY ${found})
		set(arguments -max_total_time=20 -timeout=10 -rss_limit_mb=2048 ${found} ${corpus})
	else()
		target_sources(fuzz_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz_main.c)
		set(arguments ${corpus})
	endif()
	millrace_link_time_optimisation(fuzz_${name})
	add_test(NAME fuzz_${name} COMMAND fuzz_${name} ${arguments}
		WORKING_DIRECTORY ${PROJECT_BINARY_DIR})
	millrace_test_properties(fuzz_${name} 120 fuzz)
endfunction()
