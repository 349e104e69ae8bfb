//! Made for a version of `larder:policy` that this host does not know.

wit_bindgen::generate!({
    inline: "
        package larder:policy@7.0.0;
        interface setup { describe: func() -> string; }
        world policy { export setup; }
    ",
});

struct OtherVersion;

impl exports::larder::policy::setup::Guest for OtherVersion {
    fn describe() -> String {
        "from another time".to_owned()
    }
}

// The names of the exports mean something to a component's linker alone.
#[cfg(target_family = "wasm")]
export!(OtherVersion);
