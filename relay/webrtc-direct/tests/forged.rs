//! Floods from forged source addresses, in a network namespace where nothing answers for these addresses. They need root
//! and the program `ip`; `--skip in_namespaces` leaves them out. Linux only.

#![cfg(target_os = "linux")]

#[path = "support/forger.rs"]
mod forger;
mod support;

mod in_namespaces {
    use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
    use std::process::Command;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::{Duration, Instant};
    use std::{env, fs, io, process, thread};

    use libp2p_webrtc_direct::Certificate;
    use libp2p_webrtc_direct::stack::Stack;
    use libp2p_webrtc_direct::stun::binding_request;
    use tokio::runtime::Runtime;
    use tokio::time::sleep;

    use super::forger::Forger;
    use super::support::{Server, honest_peer_connects, port};

    /// Set in the process that runs in the namespace.
    const INSIDE: &str = "WEBRTC_DIRECT_TEST_INSIDE";
    /// The address of the server, in a network for documentation.
    const ADDRESS: &str = "/ip4/192.0.2.1/udp/0/webrtc-direct";
    /// Datagrams of each kind.
    const DATAGRAMS: usize = 5_000;
    const HONEST: usize = 20;
    /// What may be left of a flood, in KiB: the allocator keeps some of what it has freed.
    const LEFT: usize = 8 * 1024;
    /// Time in which everything else must be gone.
    const FORGOTTEN: Duration = Duration::from_secs(30);

    #[derive(Clone, Copy, Debug)]
    enum Flood {
        Malformed,
        Requests,
        Hellos,
    }

    #[test]
    fn malformed_datagrams_leave_nothing() {
        run_inside("malformed_datagrams_leave_nothing", Flood::Malformed);
    }

    #[test]
    fn requests_leave_nothing() {
        run_inside("requests_leave_nothing", Flood::Requests);
    }

    #[test]
    fn hellos_leave_nothing() {
        run_inside("hellos_leave_nothing", Flood::Hellos);
    }

    /// Runs the test in this process if it is in the namespace, else creates one and starts itself there.
    fn run_inside(name: &str, flood: Flood) {
        if env::var_os(INSIDE).is_some() {
            let runtime = Runtime::new().expect("a runtime");
            return runtime.block_on(honest_peers_connect(flood));
        }
        let namespace = Namespace::new();
        let status = Command::new("ip")
            .args(["netns", "exec", &namespace.0])
            .arg(env::current_exe().expect("the path of this test"))
            .args(["--exact", &format!("in_namespaces::{name}"), "--nocapture"])
            .env(INSIDE, "1")
            .status();
        assert!(status.expect("ip runs").success(), "it failed inside");
    }

    /// Peers connect one after the other while the flood lasts, and afterwards memory and files are as before.
    async fn honest_peers_connect(flood: Flood) {
        let mut server = Server::start(ADDRESS, |config| config).await;
        // What is allocated once does not count.
        for _ in 0..3 {
            honest_peer_connects(&mut server).await;
        }
        let (memory, files) = usage();
        let sent = Arc::new(AtomicUsize::new(0));
        let is_stopped = Arc::new(AtomicBool::new(false));
        let sending = {
            let (sent, is_stopped) = (Arc::clone(&sent), Arc::clone(&is_stopped));
            let target = target(&server);
            thread::spawn(move || send(flood, target, &sent, &is_stopped))
        };
        for _ in 0..HONEST {
            honest_peer_connects(&mut server).await;
        }
        while sent.load(Ordering::Relaxed) < DATAGRAMS && !sending.is_finished() {
            sleep(Duration::from_millis(20)).await;
        }
        is_stopped.store(true, Ordering::Relaxed);
        sending.join().expect("no panic").expect("it can send");

        let since = Instant::now();
        while usage().0 > memory + LEFT || usage().1 > files {
            let (now, open) = usage();
            assert!(
                since.elapsed() < FORGOTTEN,
                "{memory} KiB and {files} files before, {now} and {open} after {flood:?}"
            );
            sleep(Duration::from_millis(100)).await;
        }
        let counters = &server.counters;
        assert_eq!(counters.handshakes.get(), 3 + HONEST as u64);
        match flood {
            Flood::Malformed => assert!(counters.ignored.get() > 0),
            Flood::Requests => assert!(counters.stun_answered.get() > 1_000),
            Flood::Hellos => assert!(counters.challenged.get() > 1_000),
        }
    }

    /// Sends all datagrams, and more until it is stopped; some 5,000 a second.
    fn send(
        flood: Flood,
        target: SocketAddr,
        sent: &AtomicUsize,
        is_stopped: &AtomicBool,
    ) -> io::Result<()> {
        let forger = Forger::new(target)?;
        let certificate = Certificate::generate().map_err(io::Error::other)?;
        let hello = Stack::dial(&certificate, Instant::now())
            .map_err(io::Error::other)?
            .next_datagram()
            .unwrap_or_default();
        while !is_stopped.load(Ordering::Relaxed) {
            let number = sent.fetch_add(1, Ordering::Relaxed);
            let [.., a, b, c] = number.to_be_bytes();
            let from = SocketAddrV4::new(Ipv4Addr::new(10, a, b, c), 9);
            let name = format!("libp2p+webrtc+v1/{number:08}");
            let request = binding_request([0; 12], &format!("{name}:{name}"), &name, 1);
            match flood {
                Flood::Malformed => forger.send(from, &request[..number % request.len()])?,
                Flood::Requests => forger.send(from, &request)?,
                Flood::Hellos => {
                    forger.send(from, &request)?;
                    forger.send(from, &hello)?;
                }
            }
            if number.is_multiple_of(50) {
                thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(())
    }

    fn target(server: &Server) -> SocketAddr {
        (Ipv4Addr::new(192, 0, 2, 1), port(&server.address)).into()
    }

    /// Resident memory of this process in KiB, and its open files.
    fn usage() -> (usize, usize) {
        let status = fs::read_to_string("/proc/self/status").expect("Linux");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = resident.and_then(|text| text.trim().strip_suffix(" kB"));
        let memory = memory.and_then(|text| text.parse().ok());
        let files = fs::read_dir("/proc/self/fd").expect("Linux").count();
        (memory.expect("a number"), files)
    }

    /// A network namespace, removed when dropped.
    struct Namespace(String);

    impl Namespace {
        fn new() -> Self {
            let name = thread::current().name().map(|name| name.replace("::", "-"));
            let name = format!(
                "webrtc-direct-{}-{}",
                process::id(),
                name.unwrap_or_default()
            );
            let namespace = Self(name);
            let ip = |arguments: &[&str]| {
                let output = Command::new("ip").args(arguments).output();
                let output =
                    output.expect("the program ip; skip these tests with `--skip in_namespaces`");
                let error = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "this needs root: {error}");
            };
            let inside = &namespace.0;
            ip(&["netns", "add", inside]);
            // A link whose other end swallows all answers, because they are for another card.
            for arguments in [
                "link set lo up",
                "link add away type veth peer name sink",
                "addr add 192.0.2.1/24 dev away",
                "link set away up",
                "link set sink up",
                "neigh add 192.0.2.2 lladdr 02:00:00:00:00:01 dev away nud permanent",
                "route add default via 192.0.2.2",
            ] {
                let words: Vec<_> = ["-n", inside]
                    .into_iter()
                    .chain(arguments.split(' '))
                    .collect();
                ip(&words);
            }
            namespace
        }
    }

    impl Drop for Namespace {
        fn drop(&mut self) {
            // One that was never created cannot be removed.
            let _ = Command::new("ip")
                .args(["netns", "delete", &self.0])
                .output();
        }
    }
}
