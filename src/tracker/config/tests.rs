//! Tests of the configuration: the sample, defaults, and values that are refused.

use super::*;
use crate::cluster::Reserved;

const SAMPLE: &str = include_str!("../../../conf/tracker.conf");
const IDS: &str = "100001 group1 10.0.0.11\n100002 group1 [10.0.0.12,2001:db8::12] rw=read\n";

fn check(text: &str) -> anyhow::Result<Settings> {
    Settings::check(&Ini::parse(text)?, &|name| {
        anyhow::ensure!(name == "ids.conf", "asked for {name}");
        Ok(IDS.to_owned())
    })
}

/// Settings of a file with only these lines and a base path.
fn with(lines: &str) -> anyhow::Result<Settings> {
    check(&format!("base_path = /x\n{lines}"))
}

#[test]
fn the_sample_is_good_and_says_what_the_defaults_of_the_reference_are() {
    let settings = check(SAMPLE).unwrap();
    assert_eq!(settings.remarks, Vec::<String>::new());
    assert_eq!(settings.listen, ["0.0.0.0:22122".parse().unwrap()]);
    assert_eq!(settings.package_len_max, 256 * 1024);
    assert_eq!(settings.policy.lookup, Lookup::MostFree);
}

/// What the reference answered with its own sample, as far as it was recorded.
#[test]
fn storages_are_told_the_same_parameters() {
    let golden = include_str!("../../../tests/data/golden/tracker_client_cmds.hex");
    let entry = golden.split("\n\n").find(|e| e.trim_start().starts_with("# parameter_req:"));
    let hex: String = entry.unwrap().lines().filter_map(|l| l.strip_prefix("< ")).collect();
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect();
    let whole = u64::from_be_bytes(bytes[..8].try_into().unwrap());
    let text = check(SAMPLE).unwrap().policy.parameters;
    assert_eq!(text.len() as u64, whole);
    assert!(text.as_bytes().starts_with(&bytes[10..]), "{text}");
}

#[test]
fn an_almost_empty_file_means_the_defaults() {
    let settings = with("").unwrap();
    let policy = &settings.policy;
    assert_eq!(settings.max_connections, 256);
    assert_eq!(settings.network_timeout, Duration::from_secs(60));
    assert_eq!(settings.log_level, LevelFilter::Info);
    assert_eq!(settings.allowed, AllowedHosts::Everybody);
    assert_eq!(policy.lookup, Lookup::RoundRobin);
    assert_eq!(policy.reserved, Reserved::Absolute(Megabytes(1024)));
    assert_eq!((policy.check_active_secs, policy.sync_max_delay_secs), (100, 86400));
    assert_eq!(policy.address_width, IpWidth::V4);
    let told = [
        "use_storage_id=0\n",
        "trust_storage_server_id=1\n",
        "reserved_storage_space=1024MB\n",
        "slot_max_size=8388608\n",
        "trunk_compress_binlog_time_base=03:00\n",
    ];
    for line in told {
        assert!(policy.parameters.contains(line), "{line} in {}", policy.parameters);
    }
}

#[test]
fn reservations_have_several_grammars() {
    let table = [
        ("20%", Some(Reserved::Ratio(0.2))),
        ("1.5 %", Some(Reserved::Ratio(0.015))),
        ("0%", None),
        ("100%", None),
        ("-1%", None),
        ("x%", None),
        ("4G", Some(Reserved::Absolute(Megabytes(4096)))),
        ("10MB", Some(Reserved::Absolute(Megabytes(10)))),
        ("10485760", Some(Reserved::Absolute(Megabytes(10)))),
        ("1048575", Some(Reserved::Absolute(Megabytes(0)))),
        ("", None),
        ("1.5GB", None),
        ("100B", None),
    ];
    for (text, want) in table {
        let got = with(&format!("reserved_storage_space = {text}"));
        assert_eq!(got.as_ref().ok().map(|s| s.policy.reserved), want, "{text}");
        if let Err(error) = got {
            assert!(format!("{error:#}").contains("line 2: reserved_storage_space"), "{error:#}");
        }
    }
}

#[test]
fn storages_with_ids_change_what_is_allowed() {
    let ids = "use_storage_id = yes\nstorage_ids_filename = ids.conf\n";
    let settings = with(ids).unwrap();
    assert_eq!(settings.policy.address_width, IpWidth::V6, "one address is IPv6");
    assert_eq!(settings.policy.id_in_name, IdInName::Ip);
    assert!(settings.policy.parameters.contains("response_ip_addr_size=46\n"));
    assert!(with(&format!("{ids}address_family = both")).is_err(), "file names hold no IPv6");
    let both = with(&format!("{ids}id_type_in_filename = ID\naddress_family = both")).unwrap();
    assert_eq!(both.listen.len(), 2);
    assert!(with("use_storage_id = 1").is_err(), "no file is named");
    assert!(with("use_storage_id = 1\nstorage_ids_filename = other.conf").is_err());
}

#[test]
fn listening_follows_addresses_and_family() {
    let table: [(&str, Option<&[&str]>); 7] = [
        ("port = 0", Some(&["0.0.0.0:0"])),
        ("bind_addr = 127.0.0.1\nport = 1", Some(&["127.0.0.1:1"])),
        ("bind_addr = 10.0.0.1\naddress_family = ipv4", Some(&["10.0.0.1:22122"])),
        ("bind_addr = 10.0.0.1\naddress_family = ipv6", None),
        ("bind_addr = here", None),
        ("address_family = some", None),
        ("port = -1", None),
    ];
    for (lines, want) in table {
        let got = with(lines).ok().map(|settings| settings.listen);
        let want = want.map(|all| all.iter().map(|a| a.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!(got, want, "{lines}");
    }
}

#[test]
fn bad_values_are_refused_with_their_line() {
    for line in [
        "use_trunk_file = true",
        "disabled = 1",
        "store_lookup = 3",
        "store_lookup = x",
        "store_server = 3",
        "store_path = 1",
        "download_server = 2",
        "max_connections = 2000000",
        "network_timeout = soon",
        "log_level = loud",
        "buff_size = 1.5M",
        "slot_max_size = 100",
        "trunk_create_file_time_base = 25:00",
        "allow_hosts = 10.0.0.1/24",
        // Without effect here, but not without a meaning.
        "work_threads = 0",
        "accept_threads = x",
        "inner_port = 70000",
        "thread_stack_size = 1.5M",
        "log_file_keep_days = -1",
        "log_file_rotate_time = 25:00",
    ] {
        let error = format!("{:#}", with(line).unwrap_err());
        assert!(error.starts_with("line 2: "), "{line}: {error}");
    }
    let error = format!("{:#}", with("store_lookup = 1").unwrap_err());
    assert!(error.contains("store_group"), "{error}");
    assert!(check("port = 1").is_err(), "base_path is required");
    assert!(check("base_path =").is_err());
}

#[test]
fn idle_and_unknown_keys_are_named() {
    let settings = with(
        "http.server_port = 80\nwork_threads = 8\nrun_by_user =\n\
         [error-log]\nlog_file_delete_old_time = 02:00\n",
    );
    let remarks = settings.unwrap().remarks;
    assert_eq!(remarks.len(), 3, "{remarks:?}");
    assert!(remarks[0].contains("line 2: unknown key http.server_port"), "{remarks:?}");
    assert!(remarks[1].contains("work_threads"), "{remarks:?}");
    assert!(remarks[2].contains("log_file_delete_old_time"), "{remarks:?}");
}

#[test]
fn buffer_sizes_limit_requests() {
    for (lines, want) in [
        ("buff_size = 64KB", 64),
        ("buff_size = 1KB", 8),
        ("buff_size = 1MB", 256),
        ("buff_size = 16KB\nmin_buff_size = 8KB\nmax_buff_size = 32KB", 32),
        ("buff_size = 16KB\nmax_buff_size = 32KB", 16),
        ("min_buff_size = 8KB\nmax_buff_size = 128KB", 256),
    ] {
        assert_eq!(with(lines).unwrap().package_len_max, want * 1024, "{lines}");
    }
}
