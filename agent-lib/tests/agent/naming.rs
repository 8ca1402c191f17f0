//! From names to lines.

use agent_lib::{LineName, Refusal};

use crate::*;

#[test]
fn every_kind_of_name_leads_to_the_line() {
    let (agent, _) = agent();
    assert_eq!(agent.resolve(LineName::Number(17)).unwrap(), RELAY);
    for name in ["17", "GPIO17", "gpio17", "J8:11", "relay", "pump"] {
        assert_eq!(agent.resolve(LineName::Text(name)).unwrap(), RELAY, "{name}");
    }
}

#[test]
fn a_kept_line_has_a_name_all_the_same() {
    let (agent, _) = agent();
    assert_eq!(agent.resolve(LineName::Text("GPIO5")).unwrap(), KEPT);
}

#[test]
fn an_unknown_name_is_refused_with_near_ones() {
    let (agent, _) = agent();
    let near = |name| match agent.resolve(name) {
        Err(Refusal::UnknownLine { near, .. }) => near,
        other => panic!("{other:?}"),
    };
    assert_eq!(near(LineName::Text("realy")), ["relay"]);
    assert_eq!(near(LineName::Text("GPI017")), ["GPIO17", "GPIO1", "GPIO10"]);
    assert!(near(LineName::Text("thermostat")).is_empty());
    assert!(near(LineName::Number(28)).contains(&"GPIO2".to_string()));
    assert!(near(LineName::Number(u32::MAX)).is_empty());
}

#[test]
fn the_kernel_s_names_lead_to_their_lines_unless_two_bear_the_same() {
    let named = SimBoard::builder().name(LineId(0), "ID_SDA").name(LineId(8), "NC").name(LineId(9), "NC");
    let agent = Agent::new(named.build(), Policy::default());
    assert_eq!(agent.resolve(LineName::Text("id_sda")).unwrap(), LineId(0));
    let refused = agent.resolve(LineName::Text("ID_SCL"));
    assert!(matches!(refused, Err(Refusal::UnknownLine { near, .. }) if near == ["ID_SDA"]));
    assert!(matches!(agent.resolve(LineName::Text("NC")), Err(Refusal::UnknownLine { .. })));
}

#[test]
fn a_line_is_found_by_the_label_of_its_chip_and_its_offset_there() {
    let agent = Agent::new(SimBoard::builder().label("pinctrl-rp1").build(), Policy::default());
    assert_eq!(agent.resolve(LineName::Text("pinctrl-rp1:17")).unwrap(), RELAY);
    for other in ["pinctrl-bcm2835:17", "pinctrl-rp1:99", "pinctrl-rp1:", "pinctrl-rp1:+17", ":17"] {
        assert!(matches!(agent.resolve(LineName::Text(other)), Err(Refusal::UnknownLine { .. })), "{other}");
    }
}

#[test]
fn power_pins_are_no_lines() {
    let (agent, _) = agent();
    assert!(
        matches!(agent.resolve(LineName::Text("J8:1")), Err(Refusal::UnknownLine { asked, .. }) if asked == "J8:1")
    );
}
