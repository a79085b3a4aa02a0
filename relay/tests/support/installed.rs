//! The programs of this computer.

use std::{env, net::SocketAddr, time::Duration};

use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use super::http::PATIENCE;

/// Where programs are searched. nginx is where only the superuser's PATH leads.
pub(crate) fn search_path() -> String {
    env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin"
}

/// Whether all programs are there. Otherwise says that the test is skipped.
pub(crate) fn are_installed(programs: &[&str]) -> bool {
    let path = search_path();
    let is_missing =
        |program: &&str| !env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let missing = programs.iter().copied().find(is_missing);
    if let Some(program) = missing {
        println!("skipped: {program} is not installed");
    }
    missing.is_none()
}

/// Waits until a program accepts connections.
pub(crate) async fn until_listening(port: SocketAddr) {
    let listens = timeout(PATIENCE, async {
        while TcpStream::connect(port).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    listens.await.expect("it listens");
}
