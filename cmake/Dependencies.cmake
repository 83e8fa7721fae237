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
target_link_libraries(millrace_rocksdb INTERFACE ${ROCKSDB_LIBRARY})

# Executables link this first: jemalloc has to stand before rocksdb in the list of needed libraries, or
# RocksDB's memory comes from another allocator than ours. A sanitizer brings its own allocator.
add_library(millrace_allocator INTERFACE)
if(NOT MILLRACE_SANITIZE)
	target_link_libraries(millrace_allocator INTERFACE PkgConfig::JEMALLOC)
	target_compile_definitions(millrace_allocator INTERFACE MILLRACE_JEMALLOC)
endif()

if(MILLRACE_TESTS)
	pkg_check_modules(CUNIT REQUIRED IMPORTED_TARGET cunit)
	pkg_check_modules(HIREDIS REQUIRED IMPORTED_TARGET hiredis)
endif()
