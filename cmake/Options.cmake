# Compiler options, carried by the target millrace_options that everything of ours links to.
add_library(millrace_options INTERFACE)
target_include_directories(millrace_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(millrace_options INTERFACE _GNU_SOURCE)
target_compile_options(millrace_options INTERFACE
	-Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wformat=2
	-Wno-format-nonliteral -Wno-format-zero-length -fno-common -fno-omit-frame-pointer
	-UNDEBUG # assertions stay on in release: they check invariants, and are cheap
)
if(MILLRACE_WERROR)
	target_compile_options(millrace_options INTERFACE -Werror)
endif()

if(MILLRACE_SANITIZE)
	set(libraries_only ${MILLRACE_SANITIZE})
	# fuzzer-no-link instruments a library; the fuzz targets themselves link libFuzzer's main().
	list(TRANSFORM libraries_only REPLACE "^fuzzer$" "fuzzer-no-link")
	list(JOIN libraries_only "," sanitizers)
	target_compile_options(millrace_options INTERFACE -fsanitize=${sanitizers})
	target_link_options(millrace_options INTERFACE -fsanitize=${sanitizers})
	if("undefined" IN_LIST MILLRACE_SANITIZE)
		target_compile_options(millrace_options INTERFACE -fno-sanitize-recover=undefined)
		target_link_options(millrace_options INTERFACE -fno-sanitize-recover=undefined)
	endif()
elseif(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo" OR CMAKE_BUILD_TYPE STREQUAL "Release")
	target_compile_options(millrace_options INTERFACE -fstack-protector-strong -fcf-protection)
	target_compile_definitions(millrace_options INTERFACE _FORTIFY_SOURCE=2)
	target_link_options(millrace_options INTERFACE -Wl,-z,relro,-z,now)
endif()
if(MILLRACE_COVERAGE)
	target_compile_options(millrace_options INTERFACE --coverage -fprofile-update=atomic)
	target_link_options(millrace_options INTERFACE --coverage)
endif()
