//! The image's program, with only the files of its container: no library, no shell, no name service.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use idissuer_simulator::Tls;
use idissuer_testbed::process::{Grace, Supervised, WorkFolder};
use idissuer_testbed::{skip, unpack, wait};
use serde_json::json;

use crate::CLUSTER;
use crate::operator::{HOUR, LIMIT, PASSWORD, Stage, USER, issuer};

/// A name that only the file `/etc/hosts` of the container knows.
const ISSUER: &str = "issuer.test";

const IMAGES: [&str; 2] = ["idissuer", "idissuer-simulator"];

/// Where `make image` wrote it; nothing, and a word about it, where it did not, but not in CI.
fn archive(image: &str) -> Option<PathBuf> {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/image/{image}.tar"));
    if archive.exists() {
        return Some(archive);
    }
    skip(&format!("{} is not there: run `make image`", archive.display()));
    None
}

/// What a container of the image sees.
struct Container {
    root: PathBuf,
    _folder: WorkFolder,
}

impl Container {
    /// Of the image that `make image` wrote; nothing where there can be none, but not in CI.
    fn create() -> Option<Self> {
        let archive = archive("idissuer")?;
        let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
        if !is_root {
            skip("only root can run a program in a root of its own");
            return None;
        }
        let folder = WorkFolder::create().unwrap();
        // The folder itself is for its owner only, which the program of the image is not.
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        unpack(&archive, &root).unwrap();
        Some(Self { root, _folder: folder })
    }

    /// Runs the program, as the image says. No variable of this machine names CA certificates.
    fn program(&self) -> Command {
        let mut command = Command::new("chroot");
        command.arg("--userspec=65532:65532").arg(&self.root).arg("/idissuer");
        command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
        command
    }

    fn printed(&self, argument: &str) -> String {
        let output = self.program().arg(argument).output().unwrap();
        assert!(output.status.success(), "{argument}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn no_image_is_larger_than_20_megabytes() {
    for image in IMAGES {
        let Some(archive) = archive(image) else { continue };
        let size = fs::metadata(&archive).unwrap().len();
        assert!(size < 20_000_000, "{image} has {size} bytes");
    }
}

#[test]
fn the_program_of_the_image_needs_nothing_beside_it() {
    let Some(container) = Container::create() else { return };
    assert_eq!(container.printed("--version"), concat!("idissuer ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!(container.printed("crd"), include_str!("../../crds/idissuer.pl_idissuercredentials.yaml"));
}

#[tokio::test]
async fn the_program_of_the_image_finds_an_issuer_by_name_and_trusts_the_authorities_of_its_image() {
    let Some(container) = Container::create() else { return };
    let control_plane = CLUSTER.control_plane().await.unwrap();
    let tls = Tls::Generated { names: vec![ISSUER.to_owned(), "127.0.0.1".to_owned()] };
    let stage = Stage::prepare(control_plane, "image", issuer(HOUR).tls(tls)).await;
    let address: SocketAddr = stage.issuer.url().trim_start_matches("https://").parse().unwrap();
    let url = format!("https://{ISSUER}:{}", address.port());

    // What a kubelet mounts.
    fs::write(container.root.join("etc/hosts"), format!("127.0.0.1 {ISSUER}\n")).unwrap();
    let user = format!("image-{}", stage.namespace.name());
    let kubeconfig = control_plane.kubeconfig_as(&user, Some("system:masters")).unwrap();
    fs::write(container.root.join("kubeconfig"), fs::read(kubeconfig).unwrap()).unwrap();
    // The authority of this issuer, as if it were a public one.
    let authorities = container.root.join("etc/ssl/certs/ca-certificates.crt");
    let mut authorities = fs::File::options().append(true).open(authorities).unwrap();
    authorities.write_all(stage.issuer.ca_pem().unwrap().as_bytes()).unwrap();

    let mut command = container.program();
    command.args(["controller", "--namespace", stage.namespace.name(), "--issuer-url", &url]);
    command.args(["--admin-addr", "127.0.0.1:0"]).env("KUBECONFIG", "/kubeconfig");
    let process = Supervised::spawn(&user, &command, Grace::SHORT, control_plane.folder()).unwrap();
    stage.write_login(USER, PASSWORD).await;
    stage.apply(json!({})).await;
    wait::until("a login", LIMIT, async || match stage.counts().logins_accepted {
        0 => Err(process.output_tail()),
        _ => Ok(()),
    })
    .await;
    stage.ready().await;
}
