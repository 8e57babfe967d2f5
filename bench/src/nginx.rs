//! The peer: nginx of Debian 13 (OpenSSL 3.5) in a chroot, one worker on one core, tuned for what is measured.

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use crate::drain::Complaint;
use testbed::{Namespace, peers};

/// How nginx reads its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// From the page cache, by sendfile where TLS allows it.
    Cached,
    /// From the disk every time: `directio` and a thread pool.
    Direct,
}

/// Connections that may wait to be accepted, in [`short_configuration`] and in the kernel's own limits.
pub(crate) const BACKLOG: u32 = 16_384;

/// A chroot with a Debian 13 and its nginx.
pub(crate) fn chroot() -> Result<PathBuf, Complaint> {
    let root = PathBuf::from("target/peers/debian13");
    if root.join("usr/sbin/nginx").exists() {
        return Ok(root);
    }
    crate::report::complain("installing Debian 13's nginx into target/peers/debian13 (once, some minutes)");
    peers::make_chroot(&root)?;
    for nginx in peers::PEERS.iter().filter(|peer| peer.name == "nginx") {
        peers::install(&root, nginx)?;
    }
    Ok(root)
}

/// A running nginx, ended when dropped.
#[derive(Debug)]
pub(crate) struct Nginx {
    child: Child,
    root: PathBuf,
}

impl Nginx {
    /// Starts it in `namespace`, on `core`, serving `/bench` of the chroot on 80 and 443.
    pub(crate) fn start(
        root: &Path,
        namespace: &Namespace,
        core: usize,
        reading: Reading,
        (certificate, key): (&str, &str),
    ) -> Result<Self, Complaint> {
        let etc = root.join("etc/bench");
        fs::create_dir_all(&etc)?;
        fs::write(etc.join("cert.pem"), certificate)?;
        fs::write(etc.join("key.pem"), key)?;
        Self::start_with(root, namespace, core, &configuration(core, reading))
    }

    /// Starts it in `namespace`, on `core`, as `configuration` says.
    pub(crate) fn start_with(
        root: &Path,
        namespace: &Namespace,
        core: usize,
        configuration: &str,
    ) -> Result<Self, Complaint> {
        let etc = root.join("etc/bench");
        fs::create_dir_all(&etc)?;
        fs::write(etc.join("nginx.conf"), configuration)?;
        let child = Command::new("ip")
            .args(["netns", "exec", namespace.name(), "taskset", "-c", &core.to_string(), "chroot"])
            .arg(root)
            .args(["nginx", "-c", "/etc/bench/nginx.conf", "-g", "daemon off;"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let nginx = Self { child, root: root.to_owned() };
        let begun = Instant::now();
        while !nginx.root.join("run/bench-nginx.pid").exists() {
            if begun.elapsed() > Duration::from_secs(5) {
                return Err("nginx did not start within 5 s".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // `ip netns exec` and `taskset` became nginx's master: its children end with it.
        let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(self.root.join("run/bench-nginx.pid"));
    }
}

/// What nginx is told. Printed into the result, so that anyone can object to it.
pub(crate) fn configuration(core: usize, reading: Reading) -> String {
    let files = match reading {
        Reading::Cached => {
            "sendfile on; sendfile_max_chunk 512k; tcp_nopush on;
  open_file_cache max=4096 inactive=3600s; open_file_cache_valid 3600s;"
        }
        // No open_file_cache: requests that share a descriptor switch O_DIRECT off and on under each other, and a response
        // ends in its middle.
        Reading::Direct => {
            "sendfile off; aio threads=disk; directio 4k; directio_alignment 4k; output_buffers 2 256k;"
        }
    };
    let mask = mask(core);
    format!(
        "worker_processes 1; worker_cpu_affinity {mask}; pid /run/bench-nginx.pid; error_log stderr crit;
thread_pool disk threads=16;
events {{ worker_connections 4096; use epoll; multi_accept on; }}
http {{
  access_log off; server_tokens off; etag on; keepalive_requests 1000000000; keepalive_timeout 3600;
  {files}
  ssl_certificate /etc/bench/cert.pem; ssl_certificate_key /etc/bench/key.pem;
  ssl_protocols TLSv1.3 TLSv1.2; ssl_buffer_size 16k; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
  server {{ listen 80 reuseport; listen 443 ssl reuseport; root /bench; }}
}}
"
    )
}

/// The core, as nginx writes a set of them.
fn mask(core: usize) -> String {
    (0..=core).rev().map(|bit| if bit == core { '1' } else { '0' }).collect()
}

/// For short connections to `directory` of the chroot: the kernel gives it a connection with its request, files are open and
/// cached, and head and content leave together.
pub(crate) fn short_configuration(core: usize, directory: &str) -> String {
    let mask = mask(core);
    format!(
        "worker_processes 1; worker_cpu_affinity {mask}; pid /run/bench-nginx.pid; error_log stderr crit;
events {{ worker_connections 16384; use epoll; multi_accept on; }}
http {{
  access_log off; server_tokens off; etag on; default_type application/octet-stream;
  open_file_cache max=4096 inactive=3600s; open_file_cache_valid 3600s;
  sendfile on; sendfile_max_chunk 512k; tcp_nopush on;
  server {{ listen 80 reuseport deferred backlog={BACKLOG}; root {directory}; }}
}}
"
    )
}
