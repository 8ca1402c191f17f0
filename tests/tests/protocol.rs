//! The protocol as people and other languages see it: its style, its comments, the methods that were promised, and
//! that the control plane has decided for each of them who may call it.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
};

/// The files that are ours.
fn files() -> Vec<FileDescriptorProto> {
    let all = FileDescriptorSet::decode(proto::DESCRIPTORS).expect("descriptors").file;
    all.into_iter().filter(|file| !file.package().starts_with("google.")).collect()
}

/// Every method with its types: `/package.Service/Method`, `Request -> Response`.
fn methods() -> BTreeMap<String, String> {
    let mut methods = BTreeMap::new();
    for file in files() {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let side = |streams, name: &str| {
                    let stream = if streams { "stream " } else { "" };
                    format!("{stream}{}", name.trim_start_matches('.'))
                };
                let request = side(method.client_streaming(), method.input_type());
                let response = side(method.server_streaming(), method.output_type());
                methods.insert(path, format!("{request} -> {response}"));
            }
        }
    }
    methods
}

#[test]
fn the_given_methods_have_the_given_names_and_types() {
    const GIVEN: [(&str, &str); 9] = [
        ("/pi.agent.v1.NodeAgent/GetSystemMetrics", "google.protobuf.Empty -> pi.agent.v1.SystemMetrics"),
        ("/pi.agent.v1.NodeAgent/ControlGPIO", "pi.agent.v1.GPIORequest -> pi.agent.v1.GPIOResponse"),
        ("/pi.agent.v1.NodeAgent/ExecuteCommand", "pi.agent.v1.CommandRequest -> pi.agent.v1.CommandResponse"),
        ("/pi.agent.v1.NodeAgent/StreamLogs", "pi.agent.v1.LogFilter -> stream pi.agent.v1.LogEntry"),
        ("/pi.agent.v1.NodeAgent/HealthCheck", "google.protobuf.Empty -> pi.agent.v1.HealthStatus"),
        (
            "/pi.control.v1.ControlPlane/RegisterNode",
            "pi.control.v1.NodeRegistration -> pi.control.v1.RegistrationResponse",
        ),
        (
            "/pi.control.v1.ControlPlane/SyncClusterState",
            "pi.control.v1.ClusterStateRequest -> pi.control.v1.ClusterStateResponse",
        ),
        (
            "/pi.control.v1.ControlPlane/RequestProvisioning",
            "pi.control.v1.ProvisioningRequest -> pi.control.v1.ProvisioningResponse",
        ),
        ("/pi.control.v1.ControlPlane/ReportHealth", "pi.control.v1.HealthReport -> google.protobuf.Empty"),
    ];
    let methods = methods();
    for (path, types) in GIVEN {
        assert_eq!(methods.get(path).map(String::as_str), Some(types), "{path}");
    }
}

/// What has no row is denied to everybody, so a method without one could never be called; a row without a method would
/// be a right that nobody looks after. The services for health and
/// reflection are not ours and not in the descriptors.
#[test]
fn every_method_has_a_row_in_the_access_table_and_every_row_a_method() {
    let methods: BTreeSet<String> = methods().into_keys().collect();
    let rows: Vec<&str> = control_lib::METHODS.iter().map(|(path, _)| *path).collect();
    let ours: BTreeSet<String> =
        rows.iter().filter(|path| !path.starts_with("/grpc.")).map(|path| (*path).to_owned()).collect();
    assert_eq!(methods, ours, "left: the protocol; right: control_lib::METHODS");
    assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), rows.len(), "a row twice");
}

#[test]
fn the_protocol_keeps_its_style_and_explains_itself() {
    let files = files();
    assert!(files.len() >= 3, "files: one a package at least");
    let faults: Vec<String> = files.iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Control: the style check sees each kind of fault.
#[test]
fn faults_of_style_are_found() {
    let file = faulty_file();
    let found = faults(&file);
    for fault in [
        "pi/lab.proto: package pi.lab.v1 belongs into pi/lab/v1",
        "badMessage: not UpperCamelCase",
        "badMessage: no comment",
        "badMessage.BadField: not lower_snake_case",
        "Colour.RED: not COLOUR_…",
        "Colour.RED: the value 0 is not called COLOUR_UNSPECIFIED",
        "HTTPServer: not UpperCamelCase",
        "HTTPServer.do_it: not UpperCamelCase",
        "HTTPServer.do_it: no comment",
    ] {
        assert!(found.iter().any(|said| said == fault), "not found: {fault}\n{}", found.join("\n"));
    }
}

/// A file with nothing right in it.
fn faulty_file() -> FileDescriptorProto {
    use prost_types::{EnumValueDescriptorProto, FieldDescriptorProto, MethodDescriptorProto};
    let name = |name: &str| Some(name.to_owned());
    FileDescriptorProto {
        name: name("pi/lab.proto"),
        package: name("pi.lab.v1"),
        message_type: vec![DescriptorProto {
            name: name("badMessage"),
            field: vec![FieldDescriptorProto { name: name("BadField"), ..FieldDescriptorProto::default() }],
            ..DescriptorProto::default()
        }],
        enum_type: vec![EnumDescriptorProto {
            name: name("Colour"),
            value: vec![EnumValueDescriptorProto { name: name("RED"), number: Some(0), options: None }],
            ..EnumDescriptorProto::default()
        }],
        service: vec![ServiceDescriptorProto {
            name: name("HTTPServer"),
            method: vec![MethodDescriptorProto { name: name("do_it"), ..MethodDescriptorProto::default() }],
            ..ServiceDescriptorProto::default()
        }],
        ..FileDescriptorProto::default()
    }
}

/// What is wrong with the names and comments of a file, one sentence each.
fn faults(file: &FileDescriptorProto) -> Vec<String> {
    let info = file.source_code_info.iter().flat_map(|info| &info.location);
    let mut check = Check {
        comments: info
            .filter(|location| !location.leading_comments().trim().is_empty())
            .map(|location| location.path.clone())
            .collect(),
        faults: Vec::new(),
    };
    check.package(file);
    // The numbers are those of the fields in google/protobuf/descriptor.proto: they make up an element's path.
    for (index, message) in (0..).zip(&file.message_type) {
        check.message("", message, &[4, index]);
    }
    for (index, of_file) in (0..).zip(&file.enum_type) {
        check.enumeration("", of_file, &[5, index]);
    }
    for (index, service) in (0..).zip(&file.service) {
        check.service(service, &[6, index]);
    }
    check.faults
}

struct Check {
    /// Paths of the elements that have a comment before them.
    comments: BTreeSet<Vec<i32>>,
    faults: Vec<String>,
}

impl Check {
    fn expect(&mut self, right: bool, what: &str, fault: &str) {
        if !right {
            self.faults.push(format!("{what}: {fault}"));
        }
    }

    fn commented(&mut self, what: &str, path: &[i32]) {
        self.expect(self.comments.contains(path), what, "no comment");
    }

    fn package(&mut self, file: &FileDescriptorProto) {
        let package = file.package();
        let folder = package.replace('.', "/");
        let fault = format!("package {package} belongs into {folder}");
        let is_there = file.name().rsplit_once('/').is_some_and(|(path, _)| path == folder);
        self.expect(is_there, file.name(), &fault);
        let parts: Vec<&str> = package.split('.').collect();
        let form = matches!(parts[..], ["pi", name, "v1"] if is_lower_snake(name));
        self.expect(form, package, "not pi.<name>.v1");
    }

    fn message(&mut self, within: &str, message: &DescriptorProto, path: &[i32]) {
        if message.options.as_ref().is_some_and(|options| options.map_entry()) {
            return; // stands for a map field, which is checked where it is
        }
        let name = format!("{within}{}", message.name());
        let inner = format!("{name}.");
        self.expect(is_upper_camel(message.name()), &name, "not UpperCamelCase");
        self.commented(&name, path);
        for (index, field) in (0..).zip(&message.field) {
            let name = format!("{inner}{}", field.name());
            self.expect(is_lower_snake(field.name()), &name, "not lower_snake_case");
            self.commented(&name, &[path, &[2, index]].concat());
        }
        for (index, oneof) in (0..).zip(&message.oneof_decl) {
            if oneof.name().starts_with('_') {
                continue; // the compiler's own, for an optional field
            }
            let name = format!("{inner}{}", oneof.name());
            self.expect(is_lower_snake(oneof.name()), &name, "not lower_snake_case");
            self.commented(&name, &[path, &[8, index]].concat());
        }
        for (index, nested) in (0..).zip(&message.nested_type) {
            self.message(&inner, nested, &[path, &[3, index]].concat());
        }
        for (index, nested) in (0..).zip(&message.enum_type) {
            self.enumeration(&inner, nested, &[path, &[4, index]].concat());
        }
    }

    fn enumeration(&mut self, within: &str, enumeration: &EnumDescriptorProto, path: &[i32]) {
        let name = format!("{within}{}", enumeration.name());
        self.expect(is_upper_camel(enumeration.name()), &name, "not UpperCamelCase");
        self.commented(&name, path);
        let prefix = upper_snake(enumeration.name());
        for (index, value) in (0..).zip(&enumeration.value) {
            let what = format!("{name}.{}", value.name());
            // The literal exchange `ControlGPIO(pin: 18, state: HIGH)` is given.
            let given = name == "GPIOState" && ["LOW", "HIGH"].contains(&value.name());
            let prefixed = value.name().strip_prefix(&format!("{prefix}_"));
            self.expect(given || prefixed.is_some_and(is_upper_snake), &what, &format!("not {prefix}_…"));
            let unspecified = format!("{prefix}_UNSPECIFIED");
            let fault = format!("the value 0 is not called {unspecified}");
            self.expect(value.number() != 0 || value.name() == unspecified, &what, &fault);
            self.commented(&what, &[path, &[2, index]].concat());
        }
    }

    fn service(&mut self, service: &ServiceDescriptorProto, path: &[i32]) {
        self.expect(is_upper_camel(service.name()), service.name(), "not UpperCamelCase");
        self.commented(service.name(), path);
        for (index, method) in (0..).zip(&service.method) {
            let name = format!("{}.{}", service.name(), method.name());
            self.expect(is_upper_camel(method.name()), &name, "not UpperCamelCase");
            self.commented(&name, &[path, &[2, index]].concat());
        }
    }
}

/// Upper camel case; the given names write GPIO in capitals, every other abbreviation is a word like others.
fn is_upper_camel(name: &str) -> bool {
    let name = name.replace("GPIO", "Gpio");
    let shouts = name.as_bytes().windows(2).any(|pair| pair.iter().all(u8::is_ascii_uppercase));
    name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric())
        && !shouts
}

fn is_lower_snake(name: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.split('_').all(word)
}

fn is_upper_snake(name: &str) -> bool {
    name.to_ascii_uppercase() == name && is_lower_snake(&name.to_ascii_lowercase())
}

/// `LineBias` to `LINE_BIAS`.
fn upper_snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.replace("GPIO", "Gpio").chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_uppercase());
    }
    snake
}
