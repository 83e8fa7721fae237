# Installing by the GNU folders, and a Debian package (cpack --config build/release/CPackConfig.cmake).
foreach(program millraced millrace-bench)
	if(TARGET ${program})
		install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
	endif()
endforeach()
install(FILES docs/millrace-bench.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES docs/millraced.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
install(FILES docs/millrace.conf.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
install(FILES README.md CHANGES.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES deploy/prometheus-alerts.yml deploy/90-millrace.conf
	DESTINATION ${CMAKE_INSTALL_DATADIR}/millrace)

# The unit names absolute paths, and those are only known when it is installed: `cmake --install --prefix` and CPack
# both choose the prefix then.
set(MILLRACE_UNITDIR lib/systemd/system CACHE STRING "Folder of systemd units, below the prefix")
set(install_unit ${PROJECT_BINARY_DIR}/install_unit.cmake)
configure_file(cmake/install_unit.cmake.in ${install_unit} @ONLY)
install(SCRIPT ${install_unit})

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME millrace)
set(CPACK_PACKAGE_VENDOR millrace)
set(CPACK_PACKAGE_CONTACT "the millrace maintainers <root@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA "${PROJECT_SOURCE_DIR}/deploy/conffiles")
include(CPack)
