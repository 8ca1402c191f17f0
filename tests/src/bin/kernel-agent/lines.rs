//! Lines are used, and the wire follows.

use hal_core::{Board, LineId};
use proto::agent::v1::gpio_request::Operation;
use proto::agent::v1::line_name::Name;
use proto::agent::v1::{
    GpioRequest, GpioState, LineName, ListLines, OnConflict, ReadLine, ToggleLine, WatchGpioRequest,
};
use tests::claim;
use tonic::Code;

use tests::kernel::{World, levels, set};

fn operation(pin: u32, operation: Operation) -> GpioRequest {
    GpioRequest { pin: Some(pin), operation: Some(operation), ..GpioRequest::default() }
}

/// Set, toggle, claim, list, read: each seen at the wire.
pub(crate) async fn used(world: &mut World, backend: &str) {
    let agent = world.agent().await;
    let health = agent.client.clone().health_check(()).await.unwrap().into_inner();
    let said = health.conditions.iter().map(|condition| condition.message.as_str());
    let expected = format!("54 lines of pinctrl-bcm2835 by {backend}");
    assert!(said.clone().any(|message| message == expected), "{expected}: {:?}", said.collect::<Vec<_>>());

    world.told();
    for level in [true, false, true] {
        agent.set(5, level).await;
        assert_eq!(world.wire(5), level);
    }
    let toggled = agent.call(operation(5, Operation::Toggle(ToggleLine {}))).await.unwrap();
    assert_eq!((toggled.state(), world.wire(5)), (GpioState::Low, false));
    assert_eq!(levels(&world.told(), LineId(5)), [true, false, true, false], "a level of its own making");

    let lease = agent.call(claim(6, 60_000, OnConflict::Unspecified)).await.unwrap().lease;
    assert!(lease.is_some() && world.wire(6));
    assert_eq!(levels(&world.told(), LineId(6)), [true], "claimed as high: at once and without a low in between");
    let list = GpioRequest { operation: Some(Operation::List(ListLines {})), ..GpioRequest::default() };
    let lines = agent.call(list).await.unwrap().lines;
    let six = lines.iter().find(|line| line.pin == 6).unwrap();
    assert_eq!((six.name.as_str(), six.holder.as_str(), six.used), ("GPIO6", "operator/anna", true));
    assert_eq!((lines.len(), lines.last().unwrap().pin), (28, 27));

    for level in [true, false] {
        world.sim.pull(LineId(7), level).unwrap();
        let read = agent.call(operation(7, Operation::Read(ReadLine {}))).await.unwrap();
        assert_eq!(read.raw_state(), if level { GpioState::High } else { GpioState::Low });
    }
    println!("  set, toggle, claim, list and read, at the wire");
}

/// A line above 27 is refused in every way, and the kernel is not asked for it.
pub(crate) async fn reserved(world: &mut World) {
    let agent = world.agent().await;
    for pin in [28, 31, 53, 54, u32::MAX] {
        let name = |pin| LineName { name: Some(Name::Pin(pin)) };
        let set = GpioRequest { pin: Some(pin), ..set(0, true) };
        for request in [set, operation(pin, Operation::Read(ReadLine {})), claim(pin, 1_000, OnConflict::Unspecified)] {
            let refused = agent.call(request).await.unwrap_err().code();
            assert!(matches!(refused, Code::PermissionDenied | Code::InvalidArgument | Code::NotFound), "{refused}");
        }
        let watch = WatchGpioRequest { lines: vec![name(pin)], ..WatchGpioRequest::default() };
        assert!(agent.client.clone().watch_gpio(watch).await.is_err(), "GPIO{pin} can be watched");
    }
    for line in 28..54 {
        assert!(!world.board.info(LineId(line)).unwrap().used, "GPIO{line} is requested");
    }
    world.told(); // asserts that nothing was done to them
    println!("  reserved lines are refused and never requested");
}
