//! The page over https, with the relay's own certificate authority: installed on the device, and not. Tests that need a
//! tool which is not installed are skipped, and say so.

use std::{env, fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{
    offline::until_cached,
    strap::{SKIN_CONTACT, measure_until_shared},
};
use crate::harness::{
    Browser, Failure, Outcome, Proxy, Relay, Strap, TestEnv, Website, agreement, run_in,
};

/// A phone, as far as Chromium plays one.
const PHONE: &str = "--user-agent=Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36";
/// Time limit for the page's registration of its service worker, which waits a few seconds.
const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(60);

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    // nginx is where only the superuser's PATH leads.
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders
        .map(|folder| folder.join(program))
        .any(|file| file.is_file());
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

/// Runs a test with a relay that has an authority of its own, and a browser in which that is installed.
async fn run_with_authority(test: impl AsyncFnOnce(&mut TestEnv) -> Result<()>) -> Outcome {
    let set_up = async || {
        let relay = Relay::start_with(&["--tls-self-signed"]).await?;
        let folder = tempfile::tempdir()?;
        let certificate = folder.path().join("ca.crt");
        fs::write(&certificate, relay.plain_file("/ca.crt").await?)?;
        let browser = Browser::launch_trusting(&certificate, &[PHONE, Strap::FLAG]).await?;
        Ok(TestEnv {
            relay,
            more_relays: Vec::new(),
            browser,
            others: Vec::new(),
            expected_messages: Vec::new(),
        })
    };
    let result = run_in(set_up, test).await;
    result.map_err(|error| Failure(format!("{error:#}")))
}

#[tokio::test]
async fn installed_authority_gives_a_secure_page() -> Outcome {
    if !is_installed("certutil") {
        return Ok(());
    }
    run_with_authority(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        ensure!(page.starts_with("https://127.0.0.1:"), "{page}");
        let [tab, other] = env.tabs().await?;
        tab.resize(360, 740).await?;
        tab.enter(70).await?;
        agreement(&[&tab, &other], 1).await?;
        let transport = "() => performance.getEntriesByType('resource').every(
            ({ name, nextHopProtocol }) => !name.startsWith(location.origin) || nextHopProtocol === 'h2')";
        tab.until_page("all files by HTTP/2", transport).await?;
        let secure = "isSecureContext && 'clipboard' in navigator && 'locks' in navigator";
        ensure!(tab.evaluate(secure).await? == true, "a secure context");
        let status = tab.status().await?;
        ensure!(status["storage"]["kind"] == "disk", "{}", status["storage"]);
        let before = tab.peer_id().await?;

        until_cached(&tab).await?;
        tab.reload().await?;
        tab.until("the node", "() => true").await?;
        ensure!(tab.peer_id().await? == before, "the same peer after a reload");

        env.relay.stop().await?;
        tab.go(&page).await?;
        tab.until_status_says("You can keep recording").await?;
        ensure!(tab.peer_id().await? == before, "the same peer offline");
        tab.enter(71).await?;
        env.relay.restart().await?;
        agreement(&[&tab, &other], 2).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn strap_records_with_an_installed_authority() -> Outcome {
    if !is_installed("certutil") {
        return Ok(());
    }
    run_with_authority(async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let other = env.tab().await?;
        let (strap, tab) = Strap::open_with_page(&mut env.browser, &page, "Strap").await?;
        tab.resize(360, 740).await?;
        tab.until_peers(1).await?;
        tab.focus("button", "Connect heart-rate strap").await?;
        tab.type_and_enter("").await?;
        tab.until_shows("strap-control", "Connected to Strap")
            .await?;
        tab.focus("spinbutton", "Seconds between readings").await?;
        tab.empty_field().await?;
        tab.type_and_enter("1").await?;
        measure_until_shared(&strap, &tab, &other, &SKIN_CONTACT, 88).await
    })
    .await
}

#[tokio::test]
async fn plain_http_explains_the_certificate() -> Outcome {
    if !is_installed("certutil") {
        return Ok(());
    }
    run_with_authority(async |env: &mut TestEnv| {
        let plain = env.relay.page().replace("https://", "http://");
        let tab = env.browser.open("about:blank").await?;
        tab.go(&plain).await?;
        tab.until_shows("main", "Install this relay's certificate once")
            .await?;
        tab.until_shows("main", "릴레이의 인증서를 한 번 설치하세요")
            .await?;
        let fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
        tab.resize(360, 740).await?;
        ensure!(tab.evaluate(fits).await? == true, "it fits a phone");
        let count = tab
            .evaluate("document.querySelectorAll('details').length")
            .await?;
        ensure!(
            count == 12,
            "six kinds of devices in two languages: {count}"
        );
        let styled =
            "getComputedStyle(document.querySelector('.button')).color === 'rgb(255, 255, 255)'";
        ensure!(
            tab.evaluate(styled).await? == true,
            "the style sheet is loaded"
        );
        tab.evaluate("document.querySelector('.button[href^=https]').click()")
            .await?;
        tab.until("the node", "() => location.protocol === 'https:'")
            .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn accepted_warning_is_explained() -> Outcome {
    let set_up = async || {
        Ok(TestEnv {
            relay: Relay::start_with(&["--tls-self-signed"]).await?,
            more_relays: Vec::new(),
            browser: Browser::launch().await?,
            others: Vec::new(),
            expected_messages: vec!["SSL certificate error", "ERR_CERT_AUTHORITY_INVALID"],
        })
    };
    let test = async |env: &mut TestEnv| {
        let page = env.relay.page().to_owned();
        let tab = env.browser.open("about:blank").await?;
        let refused = tab.go(&page).await.err().context("a warning")?;
        ensure!(
            refused.to_string().contains("ERR_CERT_AUTHORITY_INVALID"),
            "{refused}"
        );
        // A person accepts the warning.
        let accepted = json!({ "ignore": true });
        tab.call("Security.setIgnoreCertificateErrors", accepted)
            .await?;
        tab.go(&page).await?;
        tab.until("the node", "() => isSecureContext").await?;
        tab.enter(70).await?;
        let words = "This device doesn't trust the relay's certificate";
        let shown = format!(
            "() => document.querySelector('page-notices').innerText.includes({})",
            json!(words)
        );
        tab.until_within(REGISTRATION_TIMEOUT, "an explanation", &shown)
            .await?;
        let button = "[...document.querySelectorAll('page-notices button')].find(
            (button) => button.innerText === 'Install the certificate').click()";
        tab.evaluate(button).await?;
        tab.until_shows("main", "Install this relay's certificate once")
            .await?;
        Ok(())
    };
    let result = run_in(set_up, test).await;
    result.map_err(|error| Failure(format!("{error:#}")))
}

/// The relay's page is below a path of another website, whose proxy has the certificate.
#[tokio::test]
async fn page_below_a_path_of_nginx_works() -> Outcome {
    works_behind(Proxy::Nginx("/club/")).await
}

#[tokio::test]
async fn page_behind_nginx_works() -> Outcome {
    works_behind(Proxy::Nginx("/")).await
}

#[tokio::test]
async fn page_behind_caddy_works() -> Outcome {
    works_behind(Proxy::Caddy).await
}

async fn works_behind(proxy: Proxy) -> Outcome {
    if !is_installed("certutil") || !is_installed(proxy.program()) {
        return Ok(());
    }
    let test = async || {
        let website = Website::new(proxy)?;
        let (url, address) = (website.url(), website.address_part());
        let flags = ["--announce", &url, "--trusted-proxy", "127.0.0.1/32"];
        let relay = Relay::start_with(&flags).await?;
        let resolver = Website::resolver_flag();
        let browser = Browser::launch_trusting(&website.authority(), &[&resolver]).await?;
        let port = relay.http_port()?;
        let _proxy = website.serve(port).await?;
        let set_up = async || {
            Ok(TestEnv {
                relay,
                more_relays: Vec::new(),
                browser,
                others: Vec::new(),
                // While the relay is down.
                expected_messages: vec!["status of 502", "Unexpected response code: 502"],
            })
        };
        run_in(set_up, async |env: &mut TestEnv| {
            ensure!(env.relay.page() == url, "{}", env.relay.page());
            let [a, b] = env.tabs_behind_firewalls(&url).await?;
            a.enter(70).await?;
            agreement(&[&a, &b], 1).await?;
            let status = a.status().await?;
            let relays = status["relays"].to_string();
            ensure!(relays.contains(&address), "{relays}");
            let before = a.peer_id().await?;
            for tab in [&a, &b] {
                until_cached(tab).await?;
            }

            env.relay.kill().await?;
            a.enter(71).await?;
            env.relay.restart().await?;
            agreement(&[&a, &b], 2).await?;
            a.reload().await?;
            a.until("the node", "() => true").await?;
            ensure!(a.peer_id().await? == before, "the same peer after a reload");
            Ok(())
        })
        .await
    };
    test().await.map_err(|error| Failure(format!("{error:#}")))
}
