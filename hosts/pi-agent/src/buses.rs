//! I²C and SPI: one thing at a time on each bus, off the agent's thread, because a transfer takes milliseconds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use agent_lib::{BusDevice, BusPolicy, BusRefusal, I2cPart};
use embedded_hal::i2c::{I2c, Operation};
use embedded_hal::spi::SpiDevice;
use hal_core::{Board, Buses, FaultKind, I2C_ADDRESSES, I2cBus, Presence, SpiConfig, SpiDeviceId};
use tokio::task::spawn_blocking;

use crate::service::Node;

/// The buses of one node. Whoever waits for a bus waits for that one only.
pub(crate) struct BusWorkers<B: Board, U: Buses> {
    node: Arc<Node<B>>,
    policy: BusPolicy,
    buses: Arc<Mutex<U>>,
    /// Opened at the first use, and kept.
    i2c: Mutex<BTreeMap<u8, Slot<U::I2c>>>,
    /// One a bus: its devices share the wires. Filled once one of them could be opened.
    spi: Mutex<BTreeMap<u8, Slot<()>>>,
}

type Slot<T> = Arc<tokio::sync::Mutex<Option<T>>>;

impl<B, U> BusWorkers<B, U>
where
    B: Board<Line: Send> + Send + 'static,
    U: Buses<I2c: Send> + Send + 'static,
{
    pub(crate) fn new(node: Arc<Node<B>>, policy: BusPolicy, buses: U) -> Self {
        Self { node, policy, buses: Arc::new(Mutex::new(buses)), i2c: Mutex::default(), spi: Mutex::default() }
    }

    /// The allowed addresses that answer, in order, one probe each.
    pub(crate) async fn scan(&self, bus: u8) -> Result<Vec<u8>, BusRefusal> {
        let allowed: Vec<u8> =
            self.policy.i2c().find(|(number, _)| *number == bus).map(|(_, all)| all.collect()).unwrap_or_default();
        let first = BusDevice::I2c { bus, address: *I2C_ADDRESSES.start() };
        if allowed.is_empty() {
            return Err(BusRefusal::NotAllowed { device: first });
        }
        self.on_i2c(first, move |i2c| {
            let mut found = Vec::new();
            for address in allowed {
                let device = BusDevice::I2c { bus, address };
                if i2c.probe(address).map_err(|fault| BusRefusal::hardware(device, fault))? != Presence::Absent {
                    found.push(address);
                }
            }
            Ok(found)
        })
        .await
    }

    /// One transaction; answers what each read brought, in order.
    pub(crate) async fn transfer_i2c(
        &self,
        bus: u8,
        address: u8,
        parts: Vec<I2cPart>,
    ) -> Result<Vec<Vec<u8>>, BusRefusal> {
        let device = self.policy.check_i2c(bus, address, &parts)?;
        self.on_i2c(device, move |i2c| {
            let mut reads: Vec<Vec<u8>> = parts.iter().filter_map(read_length).map(|length| vec![0; length]).collect();
            let mut buffers = reads.iter_mut();
            let mut operations: Vec<Operation<'_>> = Vec::with_capacity(parts.len());
            for part in &parts {
                match part {
                    I2cPart::Write(bytes) => operations.push(Operation::Write(bytes)),
                    I2cPart::Read(_) => operations.extend(buffers.next().map(|buffer| Operation::Read(buffer))),
                }
            }
            let done = i2c.transaction(address, &mut operations);
            done.map_err(|fault| BusRefusal::hardware(device, fault))?;
            Ok(reads)
        })
        .await
    }

    /// One full-duplex transfer; answers as many bytes as were sent.
    pub(crate) async fn transfer_spi(
        &self,
        id: SpiDeviceId,
        config: SpiConfig,
        bytes: Vec<u8>,
    ) -> Result<Vec<u8>, BusRefusal> {
        let device = self.policy.check_spi(id, config.hz, bytes.len())?;
        let mut slot = slot(&self.spi, id.bus).lock_owned().await;
        self.lend_lines(device)?;
        let (node, buses) = (self.node.clone(), self.buses.clone());
        let transferred = spawn_blocking(move || {
            let mut bytes = bytes;
            // opened each time: mode and clock belong to the call
            let opened = buses.lock().unwrap_or_else(PoisonError::into_inner).spi(id, config);
            *slot = slot.or(opened.is_ok().then_some(()));
            return_lines(&node, device, &slot);
            let done = opened.and_then(|mut spi| spi.transfer_in_place(&mut bytes));
            drop(slot);
            done.map(|()| bytes).map_err(|fault| BusRefusal::hardware(device, fault))
        });
        transferred.await.unwrap_or_else(|error| Err(panicked(device, error)))
    }

    async fn on_i2c<T: Send + 'static>(
        &self,
        device: BusDevice,
        work: impl FnOnce(&mut U::I2c) -> Result<T, BusRefusal> + Send + 'static,
    ) -> Result<T, BusRefusal> {
        let BusDevice::I2c { bus, .. } = device else { return Err(BusRefusal::Empty { device }) };
        let mut slot = slot(&self.i2c, bus).lock_owned().await;
        self.lend_lines(device)?;
        let (node, buses) = (self.node.clone(), self.buses.clone());
        let worked = spawn_blocking(move || {
            let mut i2c = match slot.take() {
                Some(open) => open,
                None => {
                    let opened = buses.lock().unwrap_or_else(PoisonError::into_inner).i2c(bus);
                    opened.map_err(|fault| {
                        return_lines(&node, device, &slot);
                        BusRefusal::hardware(device, fault)
                    })?
                }
            };
            let outcome = work(&mut i2c);
            *slot = Some(i2c);
            outcome
        });
        worked.await.unwrap_or_else(|error| Err(panicked(device, error)))
    }

    /// Keeps everybody off the lines of a bus, from its first use on.
    fn lend_lines(&self, device: BusDevice) -> Result<(), BusRefusal> {
        let mut agent = self.node.agent();
        let now = agent.board().now();
        let lent = agent.lend_lines(now, device);
        self.node.touched(&mut agent);
        lent
    }
}

/// Gives the lines of a bus back that could never be opened: it is not there, and they are free for other use.
fn return_lines<B: Board, T>(node: &Node<B>, device: BusDevice, slot: &Option<T>) {
    if slot.is_none() {
        node.agent().return_lines(device.bus());
    }
}

fn read_length(part: &I2cPart) -> Option<usize> {
    match part {
        I2cPart::Write(_) => None,
        I2cPart::Read(length) => Some(*length),
    }
}

fn slot<T>(slots: &Mutex<BTreeMap<u8, Slot<T>>>, bus: u8) -> Slot<T> {
    slots.lock().unwrap_or_else(PoisonError::into_inner).entry(bus).or_default().clone()
}

fn panicked(device: BusDevice, error: tokio::task::JoinError) -> BusRefusal {
    BusRefusal::Hardware { device, kind: FaultKind::Other, source: Box::new(error) }
}
