//! A heart-rate strap that Chromium believes to be there (DevTools' `BluetoothEmulation`). It answers everything
//! that the browser does to it; what it measures is put in at the characteristic, because the emulation has no way
//! to send a notification.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Result;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    Browser, Tab,
    devtools::{DevTools, Event},
};

const ADDRESS: &str = "09:09:09:09:09:09";
const HEART_RATE_SERVICE: &str = "0000180d-0000-1000-8000-00805f9b34fb";
const HEART_RATE_MEASUREMENT: &str = "00002a37-0000-1000-8000-00805f9b34fb";
const CLIENT_CONFIGURATION: &str = "00002902-0000-1000-8000-00805f9b34fb";
const BATTERY_SERVICE: &str = "0000180f-0000-1000-8000-00805f9b34fb";
const BATTERY_LEVEL: &str = "00002a19-0000-1000-8000-00805f9b34fb";
/// 87 % in base64.
const BATTERY_VALUE: &str = "Vw==";

/// What the browser may be told: done, or "connection failed to be established" (Bluetooth Core, Vol 1, Part F).
const SUCCESS: u8 = 0;
const OUT_OF_REACH: u8 = 0x3e;

/// To run before the page's own scripts: remembers the characteristic that the page listens to, so that a test can
/// have it say something.
const EAR: &str = "(() => {
  const start = BluetoothRemoteGATTCharacteristic.prototype.startNotifications;
  BluetoothRemoteGATTCharacteristic.prototype.startNotifications = async function () {
    await start.call(this);
    if (this.uuid.startsWith('00002a37')) globalThis.strapEar = this;
    return this;
  };
})();";

/// One thing that the browser did to the strap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Connected,
    Subscribed,
    Unsubscribed,
}

/// A strap in reach of one browser.
#[derive(Debug)]
pub(crate) struct Strap {
    devtools: DevTools,
    in_reach: Arc<AtomicBool>,
    operations: Arc<Mutex<Vec<Operation>>>,
}

impl Strap {
    /// The flag without which Chromium on Linux has no Web Bluetooth.
    pub(crate) const FLAG: &str = "--enable-features=WebBluetooth";

    /// Opens a page in the browser, with a strap named `name` in reach. Whatever the page asks a person to choose from
    /// is answered with this strap.
    pub(crate) async fn beside_page(
        browser: &mut Browser,
        url: &str,
        name: &str,
    ) -> Result<(Self, Tab)> {
        let (devtools, operations) = browser.tap("BluetoothEmulation");
        let (_, prompts) = browser.tap("DeviceAccess");
        let enable = json!({ "state": "powered-on", "leSupported": true });
        say(&devtools, "enable", enable).await?;
        let peripheral = json!({
            "address": ADDRESS,
            "name": name,
            "manufacturerData": [],
            "knownServiceUuids": [HEART_RATE_SERVICE, BATTERY_SERVICE],
        });
        say(&devtools, "simulatePreconnectedPeripheral", peripheral).await?;
        add_services(&devtools).await?;

        let strap = Self {
            devtools: devtools.clone(),
            in_reach: Arc::new(AtomicBool::new(true)),
            operations: Arc::default(),
        };
        tokio::spawn(answer_operations(
            operations,
            devtools.clone(),
            strap.in_reach.clone(),
            strap.operations.clone(),
        ));
        tokio::spawn(answer_prompts(prompts, devtools.clone()));
        let tab = browser.open_as_person(url, EAR).await?;
        tab.call("DeviceAccess.enable", json!({})).await?;
        Ok((strap, tab))
    }

    /// Has the strap measure: the bytes of one notification.
    pub(crate) async fn measure(&self, tab: &Tab, bytes: &[u8]) -> Result<()> {
        let say = format!(
            "(() => {{
               const value = new DataView(Uint8Array.from({}).buffer);
               Object.defineProperty(strapEar, 'value', {{ configurable: true, value }});
               strapEar.dispatchEvent(new Event('characteristicvaluechanged'));
             }})()",
            json!(bytes)
        );
        tab.evaluate(&say).await?;
        Ok(())
    }

    /// Takes it out of reach: the connection ends, and none comes about.
    pub(crate) async fn go_away(&self) -> Result<()> {
        self.in_reach.store(false, Ordering::Relaxed);
        let gone = json!({ "address": ADDRESS });
        say(&self.devtools, "simulateGATTDisconnection", gone).await?;
        Ok(())
    }

    /// Brings it back.
    pub(crate) async fn come_back(&self) -> Result<()> {
        // Chromium forgets them with the connection.
        add_services(&self.devtools).await?;
        self.in_reach.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// What was done to it so far, in order.
    pub(crate) fn operations(&self) -> Vec<Operation> {
        self.operations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn say(devtools: &DevTools, method: &str, params: Value) -> Result<Value> {
    let method = format!("BluetoothEmulation.{method}");
    devtools.call(None, &method, params).await
}

async fn add_services(devtools: &DevTools) -> Result<()> {
    let offered = [
        (
            HEART_RATE_SERVICE,
            HEART_RATE_MEASUREMENT,
            json!({ "notify": true }),
        ),
        (BATTERY_SERVICE, BATTERY_LEVEL, json!({ "read": true })),
    ];
    for (service, characteristic, properties) in offered {
        let service = json!({ "address": ADDRESS, "serviceUuid": service });
        let service = say(devtools, "addService", service).await?["serviceId"].take();
        let made = json!({
            "serviceId": service,
            "characteristicUuid": characteristic,
            "properties": properties,
        });
        let made = say(devtools, "addCharacteristic", made).await?["characteristicId"].take();
        if characteristic == HEART_RATE_MEASUREMENT {
            // Subscribing is writing this descriptor; what lacks it cannot be subscribed to.
            let descriptor =
                json!({ "characteristicId": made, "descriptorUuid": CLIENT_CONFIGURATION });
            say(devtools, "addDescriptor", descriptor).await?;
        }
    }
    Ok(())
}

async fn answer_operations(
    mut events: mpsc::UnboundedReceiver<Event>,
    devtools: DevTools,
    in_reach: Arc<AtomicBool>,
    operations: Arc<Mutex<Vec<Operation>>>,
) {
    while let Some(event) = events.recv().await {
        let kind = event.params["type"].as_str().unwrap_or_default();
        let reached = in_reach.load(Ordering::Relaxed);
        let code = if reached { SUCCESS } else { OUT_OF_REACH };
        let operation = match kind {
            "connection" if reached => Some(Operation::Connected),
            "subscribe-to-notifications" => Some(Operation::Subscribed),
            "unsubscribe-from-notifications" => Some(Operation::Unsubscribed),
            _ => None,
        };
        operations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(operation);
        let (method, mut answer) = match event.method.as_str() {
            "BluetoothEmulation.gattOperationReceived" => (
                "simulateGATTOperationResponse",
                json!({ "address": ADDRESS }),
            ),
            "BluetoothEmulation.characteristicOperationReceived" => (
                "simulateCharacteristicOperationResponse",
                json!({ "characteristicId": event.params["characteristicId"] }),
            ),
            _ => continue,
        };
        answer["type"] = kind.into();
        answer["code"] = code.into();
        if kind == "read" {
            answer["data"] = BATTERY_VALUE.into();
        }
        // The page may have given up meanwhile.
        let _ = say(&devtools, method, answer).await;
    }
}

/// Chooses the first device of each list, as a person would click on it.
async fn answer_prompts(mut events: mpsc::UnboundedReceiver<Event>, devtools: DevTools) {
    let mut answered = HashSet::new();
    while let Some(event) = events.recv().await {
        let (id, device) = (&event.params["id"], &event.params["devices"][0]["id"]);
        // A list that grows is told again.
        if device.is_null() || !answered.insert(id.to_string()) {
            continue;
        }
        let choice = json!({ "id": id, "deviceId": device });
        let session = event.session.as_ref();
        // The page may be gone meanwhile.
        let _ = devtools
            .call(session, "DeviceAccess.selectPrompt", choice)
            .await;
    }
}
