//! The output of `check` for a set-up.

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::process::Command;

use jiff::{SignedDuration, Timestamp};

use super::{HOUR, Sidecar, as_nobody, can_be_nobody};

/// The token in the directory of a Secret.
const TOKEN: &str = "a-token-for-nobody-else";

/// What is said of a password that is open to all.
const NOTE: &str = "can be read by everyone on this machine";

struct Said {
    is_good: bool,
    text: String,
}

impl Said {
    fn by(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!text.contains(TOKEN) && !text.contains(super::SECRET), "{text}");
        assert_no_praise_after_blame(&text);
        Self { is_good: output.status.success(), text }
    }

    fn lines(&self, mark: &str, part: &str) -> usize {
        self.text.lines().filter(|line| line.starts_with(mark) && line.contains(part)).count()
    }

    #[track_caller]
    fn fails(&self, part: &str) {
        assert!(!self.is_good && self.lines("FAIL", part) == 1, "{part} in\n{}", self.text);
    }

    #[track_caller]
    fn passes(&self, part: &str) {
        assert!(self.lines("FAIL", "") == 0 && self.lines("ok", part) == 1, "{part} in\n{}", self.text);
        assert!(self.is_good, "{}", self.text);
    }
}

/// The files and directories that a line names.
fn named(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split(|it: char| it.is_whitespace() || ":;,()".contains(it));
    words
        .filter(|word| word.starts_with('/') && !word.starts_with("//"))
        .map(|word| word.trim_end_matches('.'))
}

/// Of what is wrong, nothing good is said afterwards.
#[track_caller]
fn assert_no_praise_after_blame(text: &str) {
    let mut blamed = HashSet::new();
    for line in text.lines() {
        if line.starts_with("FAIL") {
            blamed.extend(named(line));
        } else {
            let praised = named(line).find(|path| blamed.contains(path));
            assert_eq!(praised, None, "is wrong, and then it is not:\n{text}");
        }
    }
}

/// A sidecar of the source `secret-dir`, and everything is in order.
async fn of_a_directory() -> Sidecar {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    let [secret, output] = ["secret", "output"].map(|name| sidecar.path(name));
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("token"), TOKEN).unwrap();
    write_times(&sidecar, 0);
    let [secret, output] = [&secret, &output].map(|path| path.to_str().unwrap());
    sidecar.arguments =
        ["sidecar", "--secret-dir", secret, "--output-dir", output].map(str::to_owned).to_vec();
    fs::set_permissions(sidecar.folder.path(), Permissions::from_mode(0o755)).unwrap();
    Said::by(sidecar.command().arg("check")).passes("token contains a valid token");
    sidecar
}

/// The token is issued this many minutes from now, for an hour.
#[expect(clippy::disallowed_methods, reason = "the sidecar has the machine's clock")]
fn write_times(sidecar: &Sidecar, minutes: i64) {
    let issued = Timestamp::now() + SignedDuration::from_mins(minutes);
    let expires = issued + SignedDuration::from_hours(1);
    let json = format!(r#"{{"issued_at":"{issued}","expires_at":"{expires}"}}"#);
    fs::write(sidecar.path("secret/token.json"), json).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_login_it_names_what_is_wrong_and_how_to_cure_it() {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    sidecar.add(&["check"]);
    let password = sidecar.path("login/password");
    let check = |sidecar: &Sidecar| Said::by(&mut sidecar.command());
    fs::set_permissions(sidecar.folder.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&password, Permissions::from_mode(0o604)).unwrap();
    check(&sidecar).passes(NOTE);
    for position in [1, 3] {
        // In front of the flags, and between them.
        sidecar.arguments.pop();
        sidecar.arguments.insert(position, "check".to_owned());
        check(&sidecar).passes(NOTE);
        sidecar.arguments.remove(position);
        sidecar.arguments.push("check".to_owned());
    }
    fs::set_permissions(&password, Permissions::from_mode(0o600)).unwrap();
    let said = check(&sidecar);
    assert_eq!(said.lines("ok", NOTE), 0, "{}", said.text);
    said.passes(&format!("{} answers", sidecar.issuer.url()));
    said.passes("is writable");
    said.passes("this clock and that of http://127.0.0.1");
    assert_eq!(sidecar.counts().logins_accepted + sidecar.counts().logins_rejected, 0, "it never logs in");

    sidecar.write_login("me", "secret\n");
    fs::set_permissions(&password, Permissions::from_mode(0o604)).unwrap();
    sidecar.issuer.configure(|personality| personality.clock_offset = SignedDuration::from_mins(5));
    fs::remove_dir(sidecar.path("output")).unwrap();
    let said = check(&sidecar);
    for part in ["ends with a line break", " s ahead of this one", "mount a volume there"] {
        said.fails(part);
    }
    assert!(!said.text.contains("secret\n"), "{}", said.text);

    let url = sidecar.issuer.url();
    for argument in sidecar.arguments.iter_mut().filter(|argument| **argument == url) {
        "http://127.0.0.1:1".clone_into(argument);
    }
    check(&sidecar).fails("No answer from http://127.0.0.1:1: the connection is refused; check that it runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_in_a_volume_of_kubernetes_may_be_readable_for_all_that_mount_it() {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    sidecar.add(&["check"]);
    let login = sidecar.path("login");
    fs::create_dir(login.join("..2026")).unwrap();
    symlink("..2026", login.join("..data")).unwrap();
    for name in ["username", "password"] {
        fs::rename(login.join(name), login.join("..2026").join(name)).unwrap();
        symlink(format!("..data/{name}"), login.join(name)).unwrap();
    }
    fs::set_permissions(sidecar.folder.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(login.join("password"), Permissions::from_mode(0o644)).unwrap();
    let said = Said::by(&mut sidecar.command());
    said.passes("contains a user name and a password");
    assert_eq!(said.lines("ok", NOTE), 0, "{}", said.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_names_a_token_that_is_stale_and_one_that_was_issued_later_than_now() {
    let sidecar = of_a_directory().await;
    write_times(&sidecar, 5);
    Said::by(sidecar.command().arg("check")).fails("s in the future by this clock");
    write_times(&sidecar, -61);
    Said::by(sidecar.command().arg("check")).fails("TokenExpired");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_is_held_against_that_of_the_upstream_of_the_proxy() {
    let mut sidecar = of_a_directory().await;
    let url = sidecar.issuer.url();
    sidecar.add(&["--proxy-listen", "127.0.0.1:0", "--upstream", &url, "check"]);
    Said::by(&mut sidecar.command()).passes(&format!("this clock and that of {url} agree"));
    sidecar.issuer.configure(|personality| personality.clock_offset = -SignedDuration::from_mins(5));
    Said::by(&mut sidecar.command()).fails(" s behind this one");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_names_the_modes_and_owners_that_keep_sidecar_and_program_from_files() {
    if !can_be_nobody() {
        return;
    }
    let sidecar = of_a_directory().await;
    let [token, secret, output] = ["secret/token", "secret", "output"].map(|name| sidecar.path(name));
    let check = || Said::by(&mut as_nobody(sidecar.command().arg("check")));
    let set = |path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let said = check();
    said.fails("fsGroup, or the owner of the directory");
    said.fails("mode 755, user 0 and group 0");

    chown(&output, Some(65532), Some(4711)).unwrap();
    set(&output, 0o2770);
    check().passes("can be read by user 65532 and group 4711");
    set(&output, 0o770);
    check().passes("members of both groups 65532 and 4711");
    set(&output, 0o2770);

    set(&token, 0o400);
    check().fails("mode 400, user 0 and group 0, so user 65532 in groups 65532, 4711 has no access");
    chown(&token, None, Some(4711)).unwrap();
    check().fails("let its group read it");
    set(&token, 0o440);
    check().passes("contains a valid token");
    set(&secret, 0o750);
    check().fails("secret has mode 750, user 0 and group 0, so user 65532");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_names_a_program_that_cannot_be_signalled() {
    if !can_be_nobody() {
        return;
    }
    let mut sidecar = of_a_directory().await;
    chown(sidecar.path("output"), Some(65532), None).unwrap();
    let file = sidecar.path("program.pid");
    sidecar.add(&["--hook-signal", &format!("WINCH:{}", file.display()), "check"]);
    Said::by(&mut sidecar.command()).fails("check that the program runs");
    // This process itself, which only root may signal.
    fs::write(&file, std::process::id().to_string()).unwrap();
    Said::by(&mut sidecar.command()).passes("can be sent");
    Said::by(&mut as_nobody(&sidecar.command())).fails("run the sidecar and the program as the same user");
}
