# make demo      see it at work: private rsync daemons on loopback, killed processes, a comparison after each step
# make test      all tests, with real rsync daemons and ssh servers
# make build     target/release/syncsup
# make install   below $(DESTDIR)$(PREFIX), and in $(DESTDIR)/etc; starts nothing. INIT=sysv or INIT=openrc installs a
#                script in /etc/init.d too; SERSYNC=1 makes it callable as sersync. make uninstall takes the same words
# make deb, rpm  a package in target/debian, target/generate-rpm
# make sbom      target/package/syncsup.cdx.json: what the program is built from (CycloneDX). Packages have it, too
# make test-faults  faults of every kind under churn, from a random seed that is printed: 25 minutes; make soak: for 8 hours
#                at 200 changes a second, or for SYNCSUP_SOAK_S seconds, with a table in target/soak.csv
# make simulate  runs schedules of a simulated pusher for a day, or for SYNCSUP_SIMULATE_S seconds
# make bench     measures beside lsyncd and a bare rsync, and writes docs/benchmarks.md; make bench-full, five times each
# make lint      formatting, clippy, manual pages, shell scripts
#
# demo and test install what is missing with apt (rsync, a C compiler for SQLite; for test also sshd, curl and jq), by sudo
# when not root.

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
BINARY = target/release/syncsup
TOOLS = target/tools
STAGE = target/package
SBOM = $(STAGE)/syncsup.cdx.json

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
	units/sysctl.conf:$(PREFIX)/lib/sysctl.d/60-syncsup.conf \
	units/tmpfiles.conf:$(PREFIX)/lib/tmpfiles.d/syncsup.conf \
	units/sysusers.conf:$(PREFIX)/lib/sysusers.d/syncsup.conf \
	units/plugins.conf:$(DOCDIR)/plugins.conf \
	units/unprivileged.conf:$(DOCDIR)/unprivileged.conf \
	README.md:$(DOCDIR)/README.md \
	README.zh-CN.md:$(DOCDIR)/README.zh-CN.md \
	CHANGELOG.md:$(DOCDIR)/CHANGELOG.md \
	SECURITY.md:$(DOCDIR)/SECURITY.md \
	docs/dependencies.md:$(DOCDIR)/docs/dependencies.md \
	docs/benchmarks.md:$(DOCDIR)/docs/benchmarks.md \
	docs/reliability.md:$(DOCDIR)/docs/reliability.md \
	docs/lag-200.svg:$(DOCDIR)/docs/lag-200.svg \
	docs/lag-1000.svg:$(DOCDIR)/docs/lag-1000.svg \
	LICENSE:$(DOCDIR)/LICENSE \
	$(foreach f,$(shell find examples -type f | sort),$f:$(DOCDIR)/$f)
# The same with the path of the program in it.
UNITS = units/syncsup.service:$(UNITDIR)/syncsup.service \
	units/syncsup@.service:$(UNITDIR)/syncsup@.service
# The administrator's: not written over, and not removed when changed.
CONFIG = units/conf.d.README:$(SYSCONFDIR)/syncsup/conf.d/README \
	units/logrotate.conf:$(SYSCONFDIR)/logrotate.d/syncsup
SCRIPT = $(if $(filter sysv,$(INIT)),units/syncsup.init,$(if $(filter openrc,$(INIT)),units/syncsup.openrc))
target = $(DESTDIR)$(lastword $(subst :, ,$1))
source = $(firstword $(subst :, ,$1))

.PHONY: demo test test-faults soak simulate bench bench-full build install uninstall deb rpm stage sbom lint clean compiler

demo: build
	@.ci/need rsync
	$(BINARY) demo

test: compiler
	@PATH="$$PATH:/usr/sbin" .ci/need rsync curl jq sshd:openssh-server ssh-keygen:openssh-client ip:iproute2
	@.ci/need systemd-analyze:systemd || echo "without systemd the tests of its units say SKIPPED"
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
	SYNCSUP_SIMULATE_S=$${SYNCSUP_SIMULATE_S:-86400} $(CARGO) test --locked --lib simulation -- --nocapture

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

define NEWLINE


endef

install:
	@test -x $(BINARY) || { echo "run make build first" >&2; exit 1; }
	install -D -m 755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/syncsup
	$(if $(SERSYNC),ln -sf syncsup $(DESTDIR)$(PREFIX)/bin/sersync)
	$(foreach f,$(PLAIN),install -D -m $$(test -x $(call source,$f) && echo 755 || echo 644) $(call source,$f) $(call target,$f)$(NEWLINE)	)
	$(foreach f,$(UNITS),install -D -m 644 $(call source,$f) $(call target,$f)$(NEWLINE)	)
	sed -i 's|/usr/local/bin/syncsup|$(PREFIX)/bin/syncsup|' $(foreach f,$(UNITS),$(call target,$f))
	$(foreach f,$(CONFIG),test -e $(call target,$f) || install -D -m 644 $(call source,$f) $(call target,$f)$(NEWLINE)	)
	$(if $(SCRIPT),install -D -m 755 $(SCRIPT) $(DESTDIR)$(SYSCONFDIR)/init.d/syncsup)
	$(if $(SCRIPT),sed -i 's|/usr/local/bin/syncsup|$(PREFIX)/bin/syncsup|' $(DESTDIR)$(SYSCONFDIR)/init.d/syncsup)
	@$(if $(DESTDIR),true,if test -d /run/systemd/system; then systemctl daemon-reload; fi)

# Configurations, journals and logs stay.
uninstall:
	test "$$(readlink $(DESTDIR)$(PREFIX)/bin/sersync)" != syncsup || rm -f $(DESTDIR)$(PREFIX)/bin/sersync
	rm -f $(DESTDIR)$(PREFIX)/bin/syncsup $(foreach f,$(PLAIN) $(UNITS),$(call target,$f))
	$(foreach f,$(CONFIG),! cmp -s $(call source,$f) $(call target,$f) || rm -f $(call target,$f)$(NEWLINE)	)
	! grep -qs '$(PREFIX)/bin/syncsup' $(DESTDIR)$(SYSCONFDIR)/init.d/syncsup || rm -f $(DESTDIR)$(SYSCONFDIR)/init.d/syncsup
	test ! -d $(DESTDIR)$(DOCDIR) || find $(DESTDIR)$(DOCDIR) -depth -type d -empty -delete
	for dir in $(SYSCONFDIR)/syncsup/conf.d $(SYSCONFDIR)/syncsup; do \
		rmdir $(DESTDIR)$$dir 2>/dev/null || true; done

sbom:
	@.ci/rust $(CARGO)
	@.ci/need jq
	CARGO="$(CARGO)" .ci/sbom $(SBOM)

# What the packages hold. The script in init.d is for the few machines with Debian and without systemd; systemd prefers
# its own unit.
stage: build
	@# Only tests kill a process at a named step.
	! grep -qa SYNCSUP_FAULT_POINTS $(BINARY)
	rm -rf $(STAGE)
	$(MAKE) --no-print-directory install DESTDIR=$(STAGE)/deb PREFIX=/usr INIT=sysv \
		ZSHDIR=/usr/share/zsh/vendor-completions
	$(MAKE) --no-print-directory install DESTDIR=$(STAGE)/rpm PREFIX=/usr
	$(MAKE) --no-print-directory sbom
	for root in $(STAGE)/deb $(STAGE)/rpm; do \
		install -m 644 $(SBOM) $$root/usr/share/doc/syncsup/syncsup.cdx.json || exit 1; done
	@# Debian's form of a changelog, which leads to the one that is kept.
	@printf 'syncsup (%s-1) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' \
		"$$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)" \
		"$$(sed -n 's/^maintainer = "\(.*\)"/\1/p' Cargo.toml)" \
		"$$(LC_ALL=C date -R -d "@$${SOURCE_DATE_EPOCH:-$$(stat -c %Y CHANGELOG.md)}")" >$(STAGE)/changelog.Debian

$(TOOLS)/bin/cargo-%:
	CARGO_TARGET_DIR=$(TOOLS)/build $(CARGO) install --root $(TOOLS) --locked cargo-$*

deb: stage $(TOOLS)/bin/cargo-deb
	$(TOOLS)/bin/cargo-deb --no-build --no-strip --locked

rpm: stage $(TOOLS)/bin/cargo-generate-rpm
	$(TOOLS)/bin/cargo-generate-rpm

clean:
	$(CARGO) clean
