# make demo      see it at work: private rsync daemons on loopback, killed processes, a comparison after each step
# make test      all tests, with real rsync daemons and ssh servers
# make build     target/release/syncsup
# make install   below $(DESTDIR)$(PREFIX), and in $(DESTDIR)/etc; starts nothing. INIT=sysv or INIT=openrc installs a
#                script in /etc/init.d too; SERSYNC=1 makes it callable as sersync. make uninstall takes the same words
# make dist      target/dist/syncsup-VERSION-ARCH-linux.tar.gz with install.sh, for every distribution since CentOS 7.
#                DIST_TARGET=x86_64-unknown-linux-musl is static; ...-gnu.2.17 needs glibc 2.17 or newer. Without the
#                word it is the static one where rustup has installed the target, otherwise the other
# make deb, rpm  a package in target/debian, target/generate-rpm, with the same program
# make sbom      target/package/syncsup.cdx.json: what the program is built from (CycloneDX). Packages have it, too
# make test-faults  faults of every kind under churn, from a random seed that is printed: 25 minutes; make soak: for 8 hours
#                at 200 changes a second, or for SYNCSUP_SOAK_S seconds, with a table in target/soak.csv
# make simulate  runs schedules of a simulated pusher for a day, or for SYNCSUP_SIMULATE_S seconds
# make bench     measures beside lsyncd and a bare rsync, and writes docs/benchmarks.md; make bench-full, five times each
# make lint      formatting, clippy, manual pages, shell scripts
#
# demo and test install what is missing with apt (rsync, a C compiler for SQLite; for test also sshd, curl, jq, debhelper
# and lintian), by sudo when not root.

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
SYSCONFDIR ?= /etc
INIT ?= systemd
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
DOCDIR ?= $(PREFIX)/share/doc/syncsup
UNITDIR ?= $(PREFIX)/lib/systemd/system
BINARY ?= target/release/syncsup
TOOLS = target/tools
STAGE = target/package
SBOM = $(STAGE)/syncsup.cdx.json
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# What is given to others is linked by zig, which knows the symbols of old glibc: it runs on machines older than this one.
ARCH := $(shell uname -m)
MUSL = $(ARCH)-unknown-linux-musl
DIST_TARGET ?= $(if $(wildcard $(shell rustc --print target-libdir --target $(MUSL) 2>/dev/null)),$(MUSL),$(ARCH)-unknown-linux-gnu.2.17)
PORTABLE = $(or $(CARGO_TARGET_DIR),target)/$(basename $(basename $(DIST_TARGET)))/release/syncsup
ZIGBUILD = cargo-zigbuild==0.24.1 ziglang==0.17.1
ZIG = $(TOOLS)/zig/bin
DIST = target/dist
DISTNAME = syncsup-$(VERSION)-$(ARCH)-linux

# SOURCE:TARGET of everything that is installed as it is, mode 0644.
MANUALS = man/syncsup.8:$(PREFIX)/share/man/man8/syncsup.8 \
	man/syncsup.yaml.5:$(PREFIX)/share/man/man5/syncsup.yaml.5 \
	man/syncsup-journal.7:$(PREFIX)/share/man/man7/syncsup-journal.7 \
	man/zh_CN/syncsup.8:$(PREFIX)/share/man/zh_CN/man8/syncsup.8 \
	man/zh_CN/syncsup.yaml.5:$(PREFIX)/share/man/zh_CN/man5/syncsup.yaml.5
PLAIN = $(MANUALS) \
	units/completions/syncsup.bash:$(BASHDIR)/syncsup \
	units/completions/_syncsup:$(ZSHDIR)/_syncsup \
	units/completions/syncsup.fish:$(FISHDIR)/syncsup.fish \
	src/config/syncsup.schema.json:$(PREFIX)/share/syncsup/syncsup.schema.json \
	units/sysctl.conf:$(PREFIX)/lib/sysctl.d/60-syncsup.conf \
	units/tmpfiles.conf:$(PREFIX)/lib/tmpfiles.d/syncsup.conf \
	units/sysusers.conf:$(PREFIX)/lib/sysusers.d/syncsup.conf \
	units/plugins.conf:$(DOCDIR)/plugins.conf \
	units/unprivileged.conf:$(DOCDIR)/unprivileged.conf \
	README.md:$(DOCDIR)/README.md \
	README.zh-CN.md:$(DOCDIR)/README.zh-CN.md \
	CHANGELOG.md:$(DOCDIR)/CHANGELOG.md \
	SECURITY.md:$(DOCDIR)/SECURITY.md \
	LICENSE:$(DOCDIR)/LICENSE \
	$(foreach f,$(shell find docs examples -type f | sort),$f:$(DOCDIR)/$f)
# The same with the path of the program in it.
UNITS = units/syncsup.service:$(UNITDIR)/syncsup.service \
	units/syncsup@.service:$(UNITDIR)/syncsup@.service
# The administrator's: not written over, and not removed when changed.
CONFIG = units/conf.d.README:$(SYSCONFDIR)/syncsup/conf.d/README \
	units/logrotate.conf:$(SYSCONFDIR)/logrotate.d/syncsup
SCRIPT = $(if $(filter sysv,$(INIT)),units/syncsup.init,$(if $(filter openrc,$(INIT)),units/syncsup.openrc))
target = $(DESTDIR)$(lastword $(subst :, ,$1))
source = $(firstword $(subst :, ,$1))

.PHONY: demo test test-faults soak simulate bench bench-full build install uninstall portable dist tarball deb rpm \
	sbom lint clean compiler

demo: build
	@.ci/need rsync
	$(BINARY) demo

test: compiler
	@PATH="$$PATH:/usr/sbin" .ci/need rsync curl jq sshd:openssh-server ssh-keygen:openssh-client ip:iproute2
	@.ci/need systemd-analyze:systemd || echo "without systemd the tests of its units say SKIPPED"
	@.ci/need dh:debhelper lintian || echo "without debhelper and lintian the tests of the package say SKIPPED"
	@.ci/old-rsync target/old-rsync
	@# Most tests wait for something most of the time.
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$(($$(nproc) * 4))} $(CARGO) test --locked

test-faults: compiler
	@PATH="$$PATH:/usr/sbin" .ci/need rsync ip:iproute2 mkfs.ext4:e2fsprogs
	@.ci/old-rsync target/old-rsync
	@# Few at a time: on 2 cores more would only wait for each other.
	SYNCSUP_FAULTS_S=$${SYNCSUP_FAULTS_S:-240} RUST_TEST_THREADS=$${RUST_TEST_THREADS:-4} \
		$(CARGO) test --locked --test e2e faults:: -- --nocapture

soak: compiler
	@PATH="$$PATH:/usr/sbin" .ci/need rsync ip:iproute2
	@.ci/old-rsync target/old-rsync
	SYNCSUP_SOAK_S=$${SYNCSUP_SOAK_S:-28800} \
		$(CARGO) test --locked --test e2e faults::soak -- --ignored --nocapture

simulate: compiler
	SYNCSUP_SIMULATE_S=$${SYNCSUP_SIMULATE_S:-86400} \
		$(CARGO) test --locked --profile simulate --lib simulation -- --nocapture

bench: compiler
	@.ci/need rsync
	@.ci/need lsyncd || echo "without lsyncd it is not compared"
	@mkdir -p docs
	$(CARGO) bench --locked --bench replication

bench-full: compiler
	@.ci/need rsync
	@.ci/need lsyncd || echo "without lsyncd it is not compared"
	@mkdir -p docs
	$(CARGO) bench --locked --bench replication -- --full
	$(CARGO) bench --locked --bench parts

build: compiler
	@test -x $(BINARY) || echo "the first build takes about 6 minutes on 2 cores"
	$(CARGO) build --release --locked

compiler:
	@.ci/rust $(CARGO)
	@.ci/need cc:gcc,libc6-dev

lint: compiler
	@.ci/need mandoc shellcheck
	@.ci/lint

# Files name the program, and what the administrator writes.
RELOCATE = -e 's|/usr/local/bin/syncsup|$(PREFIX)/bin/syncsup|' \
	-e 's,/etc/\(\|default/\|sysconfig/\|conf.d/\)syncsup,$(SYSCONFDIR)/\1syncsup,g'

define NEWLINE


endef

install:
	@test -x $(BINARY) || { echo "run make build first" >&2; exit 1; }
	install -D -m 755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/syncsup
	$(if $(SERSYNC),ln -sf syncsup $(DESTDIR)$(PREFIX)/bin/sersync)
	$(foreach f,$(PLAIN),install -D -m $$(test -x $(call source,$f) && echo 755 || echo 644) $(call source,$f) $(call target,$f)$(NEWLINE)	)
	$(foreach f,$(UNITS),install -D -m 644 $(call source,$f) $(call target,$f)$(NEWLINE)	)
	sed -i $(RELOCATE) $(foreach f,$(UNITS),$(call target,$f))
	$(foreach f,$(CONFIG),test -e $(call target,$f) || { install -D -m 644 $(call source,$f) $(call target,$f) && sed -i $(RELOCATE) $(call target,$f); }$(NEWLINE)	)
	$(if $(SCRIPT),install -D -m 755 $(SCRIPT) $(DESTDIR)$(SYSCONFDIR)/init.d/syncsup)
	$(if $(SCRIPT),sed -i $(RELOCATE) $(DESTDIR)$(SYSCONFDIR)/init.d/syncsup)
	@$(if $(DESTDIR),true,if test -d /run/systemd/system; then systemctl daemon-reload; fi)

# Configurations, journals and logs stay.
uninstall:
	test "$$(readlink $(DESTDIR)$(PREFIX)/bin/sersync)" != syncsup || rm -f $(DESTDIR)$(PREFIX)/bin/sersync
	rm -f $(DESTDIR)$(PREFIX)/bin/syncsup $(foreach f,$(PLAIN) $(UNITS),$(call target,$f))
	$(foreach f,$(CONFIG),! sed $(RELOCATE) $(call source,$f) | cmp -s - $(call target,$f) || rm -f $(call target,$f)$(NEWLINE)	)
	! grep -qs '$(PREFIX)/bin/syncsup' $(DESTDIR)$(SYSCONFDIR)/init.d/syncsup || rm -f $(DESTDIR)$(SYSCONFDIR)/init.d/syncsup
	test ! -d $(DESTDIR)$(DOCDIR) || find $(DESTDIR)$(DOCDIR) -depth -type d -empty -delete
	for dir in $(SYSCONFDIR)/syncsup/conf.d $(SYSCONFDIR)/syncsup; do \
		rmdir $(DESTDIR)$$dir 2>/dev/null || true; done

sbom:
	@.ci/rust $(CARGO)
	@.ci/need jq
	CARGO="$(CARGO)" .ci/sbom $(SBOM)

$(ZIG)/cargo-zigbuild:
	@.ci/need python3
	@python3 -c 'import ensurepip' 2>/dev/null || .ci/need pyvenv:python3-venv
	python3 -m venv $(TOOLS)/zig
	$(ZIG)/pip install --quiet $(ZIGBUILD)

# The program for other machines. A static one has a fixed address, too, see build.rs.
portable: compiler $(ZIG)/cargo-zigbuild
	@echo "for $(DIST_TARGET)"
	PATH="$(abspath $(ZIG)):$$PATH" $(if $(findstring musl,$(DIST_TARGET)),RUSTFLAGS="-Crelocation-model=static") \
		$(CARGO) zigbuild --release --locked --target $(DIST_TARGET)
	@# Only tests kill a process at a named step.
	! grep -qa SYNCSUP_FAULT_POINTS $(PORTABLE)

# A built program, BINARY, in a directory that can be copied: it runs there, and install.sh installs it.
tarball:
	rm -rf $(DIST)/$(DISTNAME)
	$(MAKE) --no-print-directory install DESTDIR=$(DIST)/$(DISTNAME) PREFIX= SYSCONFDIR=/etc INIT=none SERSYNC= \
		BINARY=$(BINARY)
	install -D -m 755 units/syncsup.init $(DIST)/$(DISTNAME)/init/sysv
	install -D -m 755 units/syncsup.openrc $(DIST)/$(DISTNAME)/init/openrc
	sed -i 's|/usr/local/bin/syncsup|/bin/syncsup|' $(DIST)/$(DISTNAME)/init/*
	install -m 755 units/install.sh $(DIST)/$(DISTNAME)/install.sh
	install -m 644 README.md README.zh-CN.md LICENSE $(DIST)/$(DISTNAME)
	install -m 644 $(SBOM) $(DIST)/$(DISTNAME)/share/doc/syncsup/syncsup.cdx.json
	tar -C $(DIST) --sort=name --owner=0 --group=0 --numeric-owner \
		--mtime="@$${SOURCE_DATE_EPOCH:-$$(stat -c %Y CHANGELOG.md)}" -cf - $(DISTNAME) | gzip -9n >$(DIST)/$(DISTNAME).tar.gz

# The demo is what shows that this program runs.
dist: portable sbom
	@.ci/need rsync
	@mkdir -p $(DIST)
	$(PORTABLE) demo >$(DIST)/demo.txt 2>&1 </dev/null || { tail -n 40 $(DIST)/demo.txt; exit 1; }
	$(MAKE) --no-print-directory tarball BINARY=$(PORTABLE)
	@echo "for $(DIST_TARGET)"
	@.ci/sizes $(DIST)/$(DISTNAME)/bin/syncsup $(DIST)/$(DISTNAME).tar.gz

$(TOOLS)/bin/cargo-%:
	CARGO_TARGET_DIR=$(TOOLS)/build $(CARGO) install --root $(TOOLS) --locked cargo-$*

deb: portable
	@.ci/need dh:debhelper
	@mkdir -p target/debian
	DEB_RULES_REQUIRES_ROOT=no debian/rules binary BINARY=$(PORTABLE) DEBS=target/debian
	dh_clean
	@.ci/sizes target/debian/*.deb

rpm: portable sbom $(TOOLS)/bin/cargo-generate-rpm
	rm -rf $(STAGE)/rpm
	$(MAKE) --no-print-directory install DESTDIR=$(STAGE)/rpm PREFIX=/usr BINARY=$(PORTABLE)
	install -m 644 $(SBOM) $(STAGE)/rpm/usr/share/doc/syncsup/syncsup.cdx.json
	@# cargo-generate-rpm has one mode for a list of files.
	cd $(STAGE)/rpm && for file in $$(find usr -type f -perm -100); do \
		install -D $$file programs/$$file && rm $$file || exit 1; done
	@# The rpm of CentOS 7 does not know zstd.
	$(TOOLS)/bin/cargo-generate-rpm --payload-compress xz
	@.ci/sizes target/generate-rpm/*.rpm

clean:
	$(CARGO) clean
