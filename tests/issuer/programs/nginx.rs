//! nginx, which is called by a program that knows no token.

use std::fs;
use std::path::Path;
use std::process::Command;

use idissuer_testbed::process::{Grace, Supervised};
use idissuer_testbed::{skip, unpacked};

use super::proxied::{Proxied, replace};
use super::{Api, example, follow};

/// The files of the example in a folder, for the API and the mounted Secret of a test, and where nobody needs rights.
fn write_configuration(api: &Api, module: &str) {
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

fn start(api: &Api, program: &Path) -> Proxied {
    let stage = api.stage();
    let mut command = Command::new(program);
    command.arg("-p").arg(stage.folder.path()).args(["-e", "stderr", "-c"]).arg(stage.path("nginx.conf"));
    command.args(["-g", "daemon off; master_process off; pid nginx.pid;"]);
    let process = Supervised::spawn("nginx", &command, Grace::SHORT, &stage.folder).unwrap();
    Proxied::new(process, stage.path("nginx.sock"))
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
