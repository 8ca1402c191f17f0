//! How far roles reach, and that what lies within something never goes further.

use control_lib::{Grants, Labels, Names, Role, Scope, ScopeError, Selector, SelectorError};
use proptest::collection::{btree_map, btree_set};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

#[test]
fn a_selector_asks_for_all_of_its_labels() {
    let selector: Selector = "room=lab,rack=2".parse().unwrap();
    assert_eq!(selector.to_string(), "rack=2,room=lab");
    let labels = |pairs: &[(&str, &str)]| Labels::new(pairs.iter().copied()).unwrap();
    assert!(selector.selects(&labels(&[("room", "lab"), ("rack", "2"), ("x", "")])));
    assert!(!selector.selects(&labels(&[("room", "lab")])) && !selector.selects(&labels(&[])));
    assert!("room=".parse::<Selector>().unwrap().selects(&labels(&[("room", "")])));
}

#[test]
fn what_is_no_selector_is_refused() {
    let refusal = |text: &str| text.parse::<Selector>().unwrap_err();
    for text in ["", "room", "=lab", "room=lab,", "room=a=b,x", ",room=lab", "*"] {
        assert!(matches!(refusal(text), SelectorError::Form(_)), "{text:?}");
    }
    assert_eq!(refusal("room=lab,room=barn"), SelectorError::Twice("room".into()));
    assert_eq!(refusal("a=1,b=2,c=3,d=4,e=5,f=6,g=7,h=8,i=9"), SelectorError::TooMany(9));
    assert!(matches!(refusal("room=\u{1b}"), SelectorError::Text(..)));
    assert_eq!(Selector::new::<&str, &str>([]).unwrap_err(), SelectorError::Empty);
}

#[test]
fn a_name_has_one_spelling_in_a_scope() {
    let lines = Names::lines(["GPIO17", "017", "17", "gpio4", "J8:11", "heater"]).unwrap();
    assert_eq!(lines.to_string(), "17,4,J8:11,heater");
    for wrong in ["", "70000", "GPIO", "a b", "a,b", "a;b", "a=b", "*", "Küche", "x\n", "../x", &"x".repeat(65)] {
        let lines = Names::lines([wrong]);
        assert!(lines.is_err() || wrong == "GPIO", "{wrong:?}");
        assert!(Names::units([wrong]).is_err() && Names::sources([wrong]).is_err(), "{wrong:?}");
    }
    assert_eq!(
        Names::units(["nginx"]).unwrap_err().to_string(),
        "correct \"nginx\": a unit is written in full, such as nginx.service"
    );
    assert!(Names::sources(["journal", "file:nginx-access", "kernel", "agent"]).is_ok());
    for wrong in ["file:", "file:../x", "file:A", "syslog", "Journal"] {
        assert!(Names::sources([wrong]).is_err(), "{wrong:?}");
    }
    assert_eq!(Names::lines(Vec::<&str>::new()).unwrap_err(), ScopeError::Empty("lines"));
    assert!(matches!(Names::lines((0..65).map(|n| n.to_string())), Err(ScopeError::TooMany("lines", 65))));
}

#[test]
fn a_limit_says_something_about_its_role() {
    let scope = Scope { lines: Names::lines(["17"]).ok(), ..Scope::UNLIMITED };
    let told = |role| scope.clone().of_role(role).unwrap_err().to_string();
    assert_eq!(told(Role::Viewer), "leave lines out: the role viewer is not limited by them");
    assert_eq!(told(Role::Admin), "leave lines out: the role admin is not limited by them");
    assert!(scope.clone().of_role(Role::Gpio).is_ok());
    let units = Scope { units: Names::units(["nginx.service"]).ok(), ..Scope::UNLIMITED };
    assert_eq!(units.of_role(Role::Logs).unwrap().to_string(), "units=nginx.service;sources=journal");
    let long: Vec<String> = (0..64).map(|n| format!("{}{n}.service", "x".repeat(60))).collect();
    let long = Scope { units: Names::units(long).ok(), ..Scope::UNLIMITED };
    assert!(matches!(Grants::new([(Role::Logs, long)]), Err(ScopeError::TooLong(2049..))));
}

/// One thing that somebody may want to do on a node.
#[derive(Debug)]
struct Act {
    labels: Labels,
    line: &'static str,
    source: &'static str,
    unit: &'static str,
    template: &'static str,
}

/// What the agent makes of a scope: the model that "within" is held to.
fn allows(scope: &Scope, act: &Act) -> [bool; 3] {
    let named = |names: &Option<Names>, name| names.as_ref().is_none_or(|names| names.iter().any(|own| own == name));
    let node = scope.selects(&act.labels);
    let entry = named(&scope.sources, act.source) && (act.source != "journal" || named(&scope.units, act.unit));
    [node && named(&scope.lines, act.line), node && entry, node && named(&scope.templates, act.template)]
}

const LINES: [&str; 3] = ["17", "27", "heater"];
const UNITS: [&str; 3] = ["a.service", "b.service", "c.timer"];
const SOURCES: [&str; 4] = ["journal", "kernel", "agent", "file:x"];
const TEMPLATES: [&str; 2] = ["backup", "reboot"];

fn some(of: &'static [&'static str]) -> impl Strategy<Value = Option<Vec<&'static str>>> {
    option::of(subsequence(of, 1..=of.len()))
}

fn pairs() -> impl Strategy<Value = std::collections::BTreeMap<&'static str, &'static str>> {
    btree_map(select(&["room", "rack"][..]), select(&["1", "2"][..]), 1..=2)
}

prop_compose! {
    fn scope()(
        role in select(&[Role::Gpio, Role::Logs, Role::Exec, Role::Admin][..]),
        nodes in option::of(pairs()),
        lines in some(&LINES),
        units in some(&UNITS),
        sources in some(&SOURCES),
        templates in some(&TEMPLATES),
    ) -> (Role, Scope) {
        let nodes = nodes.map(|nodes| Selector::new(nodes).unwrap());
        let scope = match role {
            Role::Gpio => Scope { lines: lines.map(|l| Names::lines(l).unwrap()), ..Scope::UNLIMITED },
            Role::Logs => Scope {
                units: units.map(|u| Names::units(u).unwrap()),
                sources: sources.map(|s| Names::sources(s).unwrap()),
                ..Scope::UNLIMITED
            },
            Role::Exec => Scope { templates: templates.map(|t| Names::templates(t).unwrap()), ..Scope::UNLIMITED },
            _ => Scope::UNLIMITED,
        };
        (role, Scope { nodes, ..scope }.of_role(role).unwrap())
    }
}

prop_compose! {
    fn act()(
        labels in option::of(pairs()),
        line in select(&LINES[..]),
        source in select(&SOURCES[..]),
        unit in select(&UNITS[..]),
        template in select(&TEMPLATES[..]),
    ) -> Act {
        Act { labels: Labels::new(labels.unwrap_or_default()).unwrap(), line, source, unit, template }
    }
}

fn grants() -> impl Strategy<Value = Grants> {
    proptest::collection::vec(scope(), 0..4).prop_map(|grants| Grants::new(grants).unwrap())
}

/// What a role lets do, by itself or as a part of admin.
fn granted(grants: &Grants, role: Role, act: &Act) -> [bool; 3] {
    let own = grants.iter().filter(|(held, _)| *held == role || *held == Role::Admin);
    own.fold([false; 3], |all, (_, scope)| {
        let one = allows(scope, act);
        [all[0] || one[0], all[1] || one[1], all[2] || one[2]]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_scope_lies_within_itself_and_within_no_limit((_, scope) in scope()) {
        prop_assert!(scope.within(&scope) && scope.within(&Scope::UNLIMITED));
        prop_assert!(!Scope::UNLIMITED.within(&scope) || scope == Scope::UNLIMITED);
    }

    #[test]
    fn within_is_transitive((_, a) in scope(), (_, b) in scope(), (_, c) in scope()) {
        if a.within(&b) && b.within(&c) {
            prop_assert!(a.within(&c));
        }
    }

    #[test]
    fn what_lies_within_never_grants_more((_, a) in scope(), (_, b) in scope(), act in act()) {
        if a.within(&b) {
            for (inner, outer) in allows(&a, &act).into_iter().zip(allows(&b, &act)) {
                prop_assert!(outer || !inner, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn what_is_covered_never_grants_more(own in grants(), other in grants(), act in act()) {
        prop_assert!(own.cover(&own) && Grants::admin().cover(&own));
        if own.cover(&other) {
            for role in [Role::Gpio, Role::Logs, Role::Exec, Role::Viewer] {
                for (given, has) in granted(&other, role, &act).into_iter().zip(granted(&own, role, &act)) {
                    prop_assert!(has || !given, "{role}: {own} gives {other}");
                }
            }
        }
    }

    #[test]
    fn covering_is_transitive(a in grants(), b in grants(), c in grants()) {
        if a.cover(&b) && b.cover(&c) {
            prop_assert!(a.cover(&c));
        }
    }

    #[test]
    fn a_selector_is_read_as_it_is_written(pairs in btree_map("[^=,\\pC]{1,20}", "[^,\\pC]{0,20}", 1..=8)) {
        let selector = Selector::new(pairs).unwrap();
        prop_assert_eq!(selector.to_string().parse(), Ok(selector));
    }

    #[test]
    fn names_are_read_as_they_are_written(names in btree_set("[A-Za-z0-9_.:-]{1,20}", 1..=64)) {
        if let Ok(lines) = Names::lines(names) {
            prop_assert_eq!(Names::lines(lines.to_string().split(',')), Ok(lines));
        }
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        _ = (text.parse::<Selector>(), Names::lines([&text]), Names::units([&text]), Names::sources([&text]));
    }
}
