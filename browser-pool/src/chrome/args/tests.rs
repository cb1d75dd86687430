//! The command line as a whole.

use super::*;
use std::collections::BTreeSet;

fn refused(arg: &str, sandbox: Sandbox, profile: &LaunchProfile) -> bool {
    check(&[arg.to_owned()], Safety { sandbox, webrtc_udp: false }, profile).is_err()
}

fn line(profile: &LaunchProfile, extra: &[&str]) -> Vec<String> {
    line_without(profile, extra, false, &[])
}

fn line_without(
    profile: &LaunchProfile,
    extra: &[&str],
    headful: bool,
    without: &[String],
) -> Vec<String> {
    let parts = Parts {
        is_shell: false,
        safety: Safety { sandbox: Sandbox::Required, webrtc_udp: false },
        transport: Transport::Pipe,
        headful,
        without,
        gpu: false,
        window: (800, 600),
        profile_dir: Path::new("/r/p"),
        crash_dir: Path::new("/r/k"),
        profile,
    };
    let extra: Vec<_> = extra.iter().map(|arg| (*arg).to_owned()).collect();
    let args = arguments(parts, &extra).unwrap();
    args.into_iter().map(|arg| arg.into_string().unwrap()).collect()
}

#[test]
fn no_switch_stands_twice_and_each_has_a_reason() {
    let args = line(&LaunchProfile::new(), &[]);
    let names: BTreeSet<_> = args.iter().map(|arg| name_of(arg)).collect();
    assert_eq!(names.len(), args.len(), "{args:?}");
    assert!(ALWAYS.iter().chain(FEATURES_OFF).all(|(_, reason)| !reason.is_empty()));
    assert!(!args.iter().any(|arg| arg.starts_with("--remote-debugging-port")));
    assert!(!args.contains(&"--no-sandbox".to_owned()));
}

#[test]
fn a_users_arguments_are_merged() {
    let profile = LaunchProfile::new().proxy("http://p:1").arg("--lang=de").arg("--custom");
    let args = line(&profile, &["--disable-features=Mine,Other", "--enable-features=Translate"]);
    assert!(args.contains(&"--lang=de".into()) && !args.contains(&"--lang=en-US".into()));
    assert!(
        args.contains(&"--custom".into()) && args.contains(&"--proxy-server=http://p:1".into())
    );
    let off = args.iter().find(|arg| arg.starts_with("--disable-features=")).unwrap();
    assert!(off.ends_with(",Mine,Other") && !off.contains("Translate"), "{off}");
    assert!(args.contains(&"--enable-features=Translate".into()));
}

#[test]
fn a_default_switch_is_left_out_and_windows_are_shown_when_asked_for() {
    let without = ["--disable-extensions".to_owned()];
    let args = line_without(&LaunchProfile::new(), &["--load-extension=/e"], true, &without);
    assert!(!args.contains(&without[0]) && args.contains(&"--load-extension=/e".into()));
    assert!(!args.iter().any(|arg| arg.starts_with("--headless")));
    let plain = line(&LaunchProfile::new(), &[]);
    assert!(plain.contains(&without[0]) && plain.contains(&"--headless=new".into()));
    assert!(check_without(&without).is_ok());
    for unknown in ["--user-data-dir", "--headless", "disable-extensions", "", "--lang"] {
        assert!(check_without(&[unknown.to_owned()]).is_err(), "{unknown:?}");
    }
}

#[test]
fn what_the_pool_owns_is_refused() {
    let plain = LaunchProfile::new();
    for (owned, _) in OWNED {
        for arg in [(*owned).to_owned(), format!("{owned}=x")] {
            assert!(refused(&arg, Sandbox::Disabled, &plain), "{owned}");
        }
    }
    for rubbish in ["", "-", "--", "about:blank", "--a\0b", "-- x", "--no-sandbox ", "--é"] {
        assert!(refused(rubbish, Sandbox::Disabled, &plain), "{rubbish:?}");
    }
    assert!(!refused("--fine=a b", Sandbox::Required, &plain));
}

#[test]
fn nothing_undoes_the_sandbox_that_is_required() {
    let plain = LaunchProfile::new();
    for switch in UNSANDBOXING {
        for arg in [(*switch).to_owned(), format!("{switch}=x")] {
            assert!(refused(&arg, Sandbox::Required, &plain), "{arg}");
            assert!(!refused(&arg, Sandbox::Disabled, &plain), "{arg}");
        }
    }
}

#[test]
fn nothing_leads_past_the_proxy_of_the_profile() {
    let proxied = LaunchProfile::new().proxy("socks5://p");
    for switch in UNPROXYING {
        assert!(refused(switch, Sandbox::Required, &proxied), "{switch}");
        assert!(!refused(switch, Sandbox::Required, &LaunchProfile::new()), "{switch}");
    }
    assert!(refused("--fine", Sandbox::Required, &LaunchProfile::new().proxy("")));
}

#[test]
fn nothing_but_its_own_option_lets_webrtc_past_a_proxy() {
    let plain = LaunchProfile::new();
    let with = |webrtc_udp| Safety { sandbox: Sandbox::Required, webrtc_udp };
    for switch in WEBRTC_PROXIED {
        assert!(line(&plain, &[]).contains(&(*switch).to_owned()));
        assert!(refused(switch, Sandbox::Disabled, &plain), "{switch}");
        let kept = check_without(&[(*switch).to_owned()]).unwrap_err().to_string();
        assert!(kept.contains("webrtc_udp"), "{kept}");
    }
    assert!(check(&[], with(true), &plain).is_ok());
    let proxied = LaunchProfile::new().proxy("socks5://p");
    assert!(check(&[], with(false), &proxied).is_ok() && check(&[], with(true), &proxied).is_err());
}

#[test]
fn a_variable_leads_no_browser_out_of_its_directory() {
    let refused = |name: &str, value: &str| check_env(&[(name.into(), value.into())]).is_err();
    for (name, _) in OWN_PLACES {
        assert!(refused(name, "/tmp"), "{name}");
    }
    for (name, value) in [("", "a"), ("A=B", "c"), ("A\0", "b"), ("A", "\0")] {
        assert!(refused(name, value), "{name:?} {value:?}");
    }
    assert!(refused("CHROMIUM_FLAGS", "--no-sandbox") && refused("CHROMIUM_USER_FLAGS", ""));
    assert!(!refused("DISPLAY", ":1") && !refused("LANG", ""));
}

#[test]
fn a_window_has_a_size_that_can_be_drawn() {
    for good in [(1, 1), (MOST_WINDOW, MOST_WINDOW)] {
        assert!(check_window(good).is_ok(), "{good:?}");
    }
    for bad in [(0, 1), (1, 0), (MOST_WINDOW + 1, 1), (1, u32::MAX)] {
        assert!(check_window(bad).is_err(), "{bad:?}");
    }
}
