# What Debian 12 provides. Nothing is downloaded and nothing is bundled.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(URING REQUIRED IMPORTED_TARGET liburing>=2.3)
pkg_check_modules(CK REQUIRED IMPORTED_TARGET ck)
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(JEMALLOC REQUIRED IMPORTED_TARGET jemalloc)

# RocksDB's C interface; its own CMake package would ask for a C++ compiler.
find_path(ROCKSDB_INCLUDE_DIR rocksdb/c.h REQUIRED)
find_library(ROCKSDB_LIBRARY rocksdb REQUIRED)
add_library(millrace_rocksdb INTERFACE)
target_include_directories(millrace_rocksdb SYSTEM INTERFACE ${ROCKSDB_INCLUDE_DIR})

# As archives, where the -dev packages have them: a shared RocksDB, and the C++ library that it and a shared jemalloc
# bring, cost an idle process 4.6 MB of pages that only resolving symbols has touched (15.3 against 10.6 MB).
# Sanitizers want the shared ones: their suppressions go by a library's name.
option(MILLRACE_ARCHIVES "Link RocksDB and jemalloc from their archives, if found" ON)
find_library(ROCKSDB_ARCHIVE librocksdb.a)
find_library(JEMALLOC_ARCHIVE libjemalloc.a)
set(MILLRACE_USE_ARCHIVES OFF)
if(MILLRACE_ARCHIVES AND NOT MILLRACE_SANITIZE AND ROCKSDB_ARCHIVE AND JEMALLOC_ARCHIVE)
	set(MILLRACE_USE_ARCHIVES ON)
	target_link_libraries(millrace_rocksdb INTERFACE ${ROCKSDB_ARCHIVE})
	foreach(name snappy z bz2 lz4 zstd)
		find_library(ARCHIVE_${name} NAMES lib${name}.a ${name} REQUIRED)
		target_link_libraries(millrace_rocksdb INTERFACE ${ARCHIVE_${name}})
	endforeach()
	target_link_libraries(millrace_rocksdb INTERFACE -l:libstdc++.a m ${CMAKE_DL_LIBS} Threads::Threads)
	target_link_options(millrace_rocksdb INTERFACE -Wl,--gc-sections)
else()
	target_link_libraries(millrace_rocksdb INTERFACE ${ROCKSDB_LIBRARY})
endif()

# Executables link this first: jemalloc has to stand before rocksdb in the list of needed libraries, or
# RocksDB's memory comes from another allocator than ours. A sanitizer brings its own allocator.
add_library(millrace_allocator INTERFACE)
if(MILLRACE_USE_ARCHIVES)
	# Wanted by name, or an executable without a malloc() of its own would leave the archive out.
	target_link_options(millrace_allocator INTERFACE -Wl,--undefined=malloc)
	target_link_libraries(millrace_allocator INTERFACE ${JEMALLOC_ARCHIVE} m)
elseif(NOT MILLRACE_SANITIZE)
	target_link_libraries(millrace_allocator INTERFACE PkgConfig::JEMALLOC)
endif()
if(NOT MILLRACE_SANITIZE)
	target_compile_definitions(millrace_allocator INTERFACE MILLRACE_JEMALLOC)
endif()

if(MILLRACE_TESTS)
	pkg_check_modules(CUNIT REQUIRED IMPORTED_TARGET cunit)
	pkg_check_modules(HIREDIS REQUIRED IMPORTED_TARGET hiredis)
endif()
