//! An emulated Bluetooth heart-rate strap (DevTools' `BluetoothEmulation`). It responds to every operation of the
//! browser. The emulation cannot send notifications, so measurements are injected into the page's characteristic.

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
    browser::Browser,
    devtools::{DevTools, Event},
    tab::Tab,
};

const ADDRESS: &str = "09:09:09:09:09:09";
const HEART_RATE_SERVICE: &str = "0000180d-0000-1000-8000-00805f9b34fb";
const HEART_RATE_MEASUREMENT: &str = "00002a37-0000-1000-8000-00805f9b34fb";
const CLIENT_CONFIGURATION: &str = "00002902-0000-1000-8000-00805f9b34fb";
const BATTERY_SERVICE: &str = "0000180f-0000-1000-8000-00805f9b34fb";
const BATTERY_LEVEL: &str = "00002a19-0000-1000-8000-00805f9b34fb";
/// The battery level 87 % in base64.
const BATTERY_VALUE: &str = "Vw==";

/// Response codes: success, or "connection failed to be established" (Bluetooth Core, Vol 1, Part F).
const SUCCESS: u8 = 0;
const CONNECTION_FAILED: u8 = 0x3e;

/// Runs before the page's own scripts and captures the characteristic that the page subscribes to, so that a test can
/// fire events on it.
const CAPTURE_CHARACTERISTIC: &str = "(() => {
  const start = BluetoothRemoteGATTCharacteristic.prototype.startNotifications;
  BluetoothRemoteGATTCharacteristic.prototype.startNotifications = async function () {
    await start.call(this);
    if (this.uuid.startsWith('00002a37')) globalThis.heartRateCharacteristic = this;
    return this;
  };
})();";

/// An operation that the browser performed on the strap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Connected,
    Subscribed,
    Unsubscribed,
}

/// A strap in range of one browser.
#[derive(Debug)]
pub(crate) struct Strap {
    devtools: DevTools,
    in_range: Arc<AtomicBool>,
    operations: Arc<Mutex<Vec<Operation>>>,
}

impl Strap {
    /// The flag that enables Web Bluetooth in Chromium on Linux.
    pub(crate) const FLAG: &str = "--enable-features=WebBluetooth";

    /// Opens a page in the browser with a strap named `name` in range. Device choosers are answered with this strap.
    pub(crate) async fn open_with_page(
        browser: &mut Browser,
        url: &str,
        name: &str,
    ) -> Result<(Self, Tab)> {
        let (devtools, operations) = browser.subscribe("BluetoothEmulation");
        let (_, prompts) = browser.subscribe("DeviceAccess");
        let enable = json!({ "state": "powered-on", "leSupported": true });
        call(&devtools, "enable", enable).await?;
        let peripheral = json!({
            "address": ADDRESS,
            "name": name,
            "manufacturerData": [],
            "knownServiceUuids": [HEART_RATE_SERVICE, BATTERY_SERVICE],
        });
        call(&devtools, "simulatePreconnectedPeripheral", peripheral).await?;
        add_services(&devtools).await?;

        let strap = Self {
            devtools: devtools.clone(),
            in_range: Arc::new(AtomicBool::new(true)),
            operations: Arc::default(),
        };
        tokio::spawn(answer_operations(
            operations,
            devtools.clone(),
            strap.in_range.clone(),
            strap.operations.clone(),
        ));
        tokio::spawn(answer_prompts(prompts, devtools.clone()));
        let tab = browser.open_as_person(url, CAPTURE_CHARACTERISTIC).await?;
        tab.call("DeviceAccess.enable", json!({})).await?;
        Ok((strap, tab))
    }

    /// Delivers one notification with these bytes.
    pub(crate) async fn measure(&self, tab: &Tab, bytes: &[u8]) -> Result<()> {
        let script = format!(
            "(() => {{
               const value = new DataView(Uint8Array.from({}).buffer);
               Object.defineProperty(heartRateCharacteristic, 'value', {{ configurable: true, value }});
               heartRateCharacteristic.dispatchEvent(new Event('characteristicvaluechanged'));
             }})()",
            json!(bytes)
        );
        tab.evaluate(&script).await?;
        Ok(())
    }

    /// Moves the strap out of range: the connection ends, and new ones fail.
    pub(crate) async fn move_out_of_range(&self) -> Result<()> {
        self.in_range.store(false, Ordering::Relaxed);
        let gone = json!({ "address": ADDRESS });
        call(&self.devtools, "simulateGATTDisconnection", gone).await?;
        Ok(())
    }

    /// Moves the strap back into range.
    pub(crate) async fn move_into_range(&self) -> Result<()> {
        // Chromium forgets the services with the connection.
        add_services(&self.devtools).await?;
        self.in_range.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The operations so far, in order.
    pub(crate) fn operations(&self) -> Vec<Operation> {
        self.operations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn call(devtools: &DevTools, method: &str, params: Value) -> Result<Value> {
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
        let service = call(devtools, "addService", service).await?["serviceId"].take();
        let created = json!({
            "serviceId": service,
            "characteristicUuid": characteristic,
            "properties": properties,
        });
        let created =
            call(devtools, "addCharacteristic", created).await?["characteristicId"].take();
        if characteristic == HEART_RATE_MEASUREMENT {
            // Subscribing writes this descriptor; a characteristic without it cannot be subscribed to.
            let descriptor =
                json!({ "characteristicId": created, "descriptorUuid": CLIENT_CONFIGURATION });
            call(devtools, "addDescriptor", descriptor).await?;
        }
    }
    Ok(())
}

async fn answer_operations(
    mut events: mpsc::UnboundedReceiver<Event>,
    devtools: DevTools,
    in_range: Arc<AtomicBool>,
    operations: Arc<Mutex<Vec<Operation>>>,
) {
    while let Some(event) = events.recv().await {
        let kind = event.params["type"].as_str().unwrap_or_default();
        let in_range_now = in_range.load(Ordering::Relaxed);
        let code = if in_range_now {
            SUCCESS
        } else {
            CONNECTION_FAILED
        };
        let operation = match kind {
            "connection" if in_range_now => Some(Operation::Connected),
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
        // The page may have given up by now.
        let _ = call(&devtools, method, answer).await;
    }
}

/// Chooses the first device in each device chooser, as a click would.
async fn answer_prompts(mut events: mpsc::UnboundedReceiver<Event>, devtools: DevTools) {
    let mut answered = HashSet::new();
    while let Some(event) = events.recv().await {
        let (id, device) = (&event.params["id"], &event.params["devices"][0]["id"]);
        // The browser sends a chooser again when its list grows.
        if device.is_null() || !answered.insert(id.to_string()) {
            continue;
        }
        let choice = json!({ "id": id, "deviceId": device });
        let session = event.session.as_ref();
        // The page may be closed by now.
        let _ = devtools
            .call(session, "DeviceAccess.selectPrompt", choice)
            .await;
    }
}
