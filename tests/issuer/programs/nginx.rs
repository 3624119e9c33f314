//! nginx, which is called by a program that knows no token.

use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use idissuer_testbed::process::{Grace, Supervised};
use idissuer_testbed::{skip, unpacked};
use tokio::task::JoinHandle;

use super::{Api, Calling, example, follow};

/// nginx, and a client that calls it all the time.
struct Nginx {
    process: Supervised,
    statuses: Arc<Mutex<Vec<u16>>>,
    client: JoinHandle<()>,
}

impl Calling for Nginx {
    fn statuses(&self) -> Vec<u16> {
        self.statuses.lock().unwrap().clone()
    }

    fn log(&self) -> String {
        self.process.output_tail()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.client.abort();
    }
}

/// The files of the example in a folder, for the API and the mounted Secret of a test, and where nobody needs rights.
fn write_configuration(api: &Api, module: &str) {
    let replace = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "the example has no {from}");
        text.replace(from, to)
    };
    let stage = api.stage();
    let script = fs::read_to_string(example("nginx/token.js")).unwrap();
    let token = api.token_file();
    fs::write(stage.path("token.js"), replace(&script, "/run/idissuer/token", token.to_str().unwrap()))
        .unwrap();
    let text = fs::read_to_string(example("nginx/nginx.conf")).unwrap();
    let text = replace(&text, "modules/ngx_http_js_module.so", module);
    let text = replace(&text, "https://api.idissuer.pl", &api.origin());
    let text = replace(&text, "127.0.0.1:8080", &format!("unix:{}", stage.path("nginx.sock").display()));
    let folders =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|name| format!("{name}_temp_path temp;"));
    let text = replace(&text, "http {", &format!("http {{ access_log off; {}", folders.concat()));
    fs::write(stage.path("nginx.conf"), text).unwrap();
}

fn start(api: &Api, program: &std::path::Path) -> Nginx {
    let stage = api.stage();
    let mut command = Command::new(program);
    command.arg("-p").arg(stage.folder.path()).args(["-e", "stderr", "-c"]).arg(stage.path("nginx.conf"));
    command.args(["-g", "daemon off; master_process off; pid nginx.pid;"]);
    let process = Supervised::spawn("nginx", &command, Grace::SHORT, &stage.folder).unwrap();
    let statuses = Arc::<Mutex<Vec<u16>>>::default();
    let (results, socket) = (Arc::clone(&statuses), stage.path("nginx.sock"));
    let client = tokio::spawn(async move {
        let client = reqwest::Client::builder().unix_socket(socket).build().unwrap();
        loop {
            if let Ok(response) = client.get("http://localhost/v2/reports").send().await {
                results.lock().unwrap().push(response.status().as_u16());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    Nginx { process, statuses, client }
}

#[tokio::test]
async fn nginx_follows_rotations() {
    let program = unpacked("nginx", "usr/sbin/nginx");
    let module = unpacked("nginx", "usr/lib/nginx/modules/ngx_http_js_module.so");
    let (Some(program), Some(module)) = (program, module) else {
        return skip("there is no nginx with njs: `make tools` unpacks it");
    };
    let api = Api::start().await;
    write_configuration(&api, module.to_str().unwrap());
    follow(&api, &start(&api, &program)).await;
}
