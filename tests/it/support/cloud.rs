//! A scripted cloud: the reference fixture as far as the wire tests need it, and faults on demand.

use std::collections::BTreeSet;
use std::sync::Mutex;

use async_trait::async_trait;
use tracker::drivers::{Abilities, Driver, Error, Feature, Kind, Machine, Provider, Transition};
use tracker::model::{
    Action, Address, AddressKind, ExposeSecret as _, HardwareProfile, Image, Instance, InstanceId, InstanceState,
    Login, LoginKind, NewInstance, Property, PropertyKind, Realm, RealmState,
};

pub struct Cloud {
    abilities: Abilities,
    pub instances: Mutex<Vec<Instance>>,
    pub created: Mutex<Vec<NewInstance>>,
    /// What every call that reaches the backend fails with.
    pub fault: Mutex<Option<Kind>>,
    /// Names of the calls that reached the backend.
    pub calls: Mutex<Vec<String>>,
}

static MACHINE: Machine = Machine(&[
    Transition { from: "start", action: Some("create"), to: "pending" },
    Transition { from: "pending", action: None, to: "running" },
    Transition { from: "running", action: Some("reboot"), to: "running" },
    Transition { from: "running", action: Some("stop"), to: "stopped" },
    Transition { from: "stopped", action: Some("start"), to: "running" },
    Transition { from: "stopped", action: Some("destroy"), to: "finish" },
]);

const CREATE: &str = "create";

impl Cloud {
    pub fn mock() -> Self {
        Self::new(Abilities {
            id: "mock",
            name: "Mock",
            collections: &["realms", "instances", "images", "hardware_profiles", "keys"],
            features: &[
                ("instances", Feature { name: "user_name", operation: CREATE, params: &["name"] }),
                ("instances", Feature { name: "instance_count", operation: CREATE, params: &["instance_count"] }),
                ("instances", Feature { name: "realm_filter", operation: "index", params: &["realm_id"] }),
            ],
            machine: &MACHINE,
            providers: &[],
            open_hardware_profiles: true,
        })
    }

    pub fn ec2() -> Self {
        Self::new(Abilities {
            id: "ec2",
            name: "EC2",
            collections: &["realms", "instances"],
            features: &[("instances", Feature { name: "user_data", operation: CREATE, params: &["user_data"] })],
            machine: &MACHINE,
            providers: &[Provider { id: "eu-west-1", entrypoints: &[("s3", "s3-eu-west-1.amazonaws.com")] }],
            open_hardware_profiles: false,
        })
    }

    fn new(abilities: Abilities) -> Self {
        Self {
            abilities,
            instances: Mutex::new(vec![instance("inst0", "img1", "us"), instance("inst1", "img3", "eu")]),
            created: Mutex::default(),
            fault: Mutex::default(),
            calls: Mutex::default(),
        }
    }

    pub fn fails(&self, kind: Option<Kind>) {
        *self.fault.lock().unwrap() = kind;
    }

    /// The users `panic` and `hang` meet a driver with a bug.
    async fn enter(&self, call: &str, login: &Login) -> Result<(), Error> {
        self.calls.lock().unwrap().push(call.to_owned());
        if let Some(kind) = *self.fault.lock().unwrap() {
            return Err(Error::new(kind, "ProviderErrorMessage"));
        }
        let credentials = &login.credentials;
        match (credentials.user.as_str(), credentials.password.expose_secret()) {
            ("mockuser", "mockpassword") => Ok(()),
            ("panic", _) => panic!("a driver with a bug"),
            ("hang", _) => std::future::pending().await,
            _ => Err(Error::new(Kind::Denied, "The backend refused the credentials")),
        }
    }
}

pub fn instance(id: &str, image: &str, realm: &str) -> Instance {
    let address = |end: &str| Address { kind: AddressKind::Hostname, text: format!("{image}.{id}.{end}") };
    Instance {
        id: id.into(),
        name: Some(format!("Name of {id}")),
        owner: Some("mockuser".to_owned()),
        image: Some(image.to_owned()),
        realm: Some(realm.to_owned()),
        state: InstanceState::Running,
        native_state: "RUNNING".to_owned(),
        settling: false,
        hardware_profile: Some("m1-small".to_owned()),
        hardware_properties: vec![],
        actions: MACHINE.actions(InstanceState::Running),
        can_create_image: false,
        launch_time: None,
        public_addresses: vec![address("public.com")],
        private_addresses: vec![address("private.com")],
        firewalls: None,
        storage_volumes: vec![],
        login: Some(LoginKind::Key(None)),
        network_interfaces: None,
    }
}

pub fn realm(id: &str, name: &str) -> Realm {
    Realm {
        id: id.to_owned(),
        name: name.to_owned(),
        state: RealmState::Available,
        native_state: "AVAILABLE".to_owned(),
        limit: None,
        messages: vec![],
    }
}

fn image(id: &str, architecture: &str, owner: &str) -> Image {
    Image {
        id: id.to_owned(),
        name: id.to_owned(),
        description: format!("Image {id}"),
        owner: owner.to_owned(),
        architecture: architecture.to_owned(),
        state: Some("AVAILABLE".to_owned()),
        root_type: "transient".to_owned(),
        creation_time: None,
        hardware_profiles: vec!["m1-small".to_owned()],
        can_destroy: false,
    }
}

#[async_trait]
impl Driver for Cloud {
    fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    fn provider(&self, given: Option<&str>) -> Result<String, Error> {
        match given {
            Some("nonsense") => Err(Error::new(Kind::Invalid, "`nonsense` is no provider of this driver")),
            given => Ok(given.unwrap_or("default").to_ascii_lowercase()),
        }
    }

    async fn identify(&self, login: &Login) -> Result<String, Error> {
        self.enter("identify", login).await?;
        Ok("mockuser".to_owned())
    }

    async fn instances(&self, login: &Login) -> Result<Vec<Instance>, Error> {
        self.enter("instances", login).await?;
        Ok(self.instances.lock().unwrap().clone())
    }

    async fn instances_by_id(&self, login: &Login, ids: &BTreeSet<InstanceId>) -> Result<Vec<Instance>, Error> {
        self.enter("instances_by_id", login).await?;
        Ok(self.instances.lock().unwrap().iter().filter(|instance| ids.contains(&instance.id)).cloned().collect())
    }

    async fn realms(&self, login: &Login) -> Result<Vec<Realm>, Error> {
        self.enter("realms", login).await?;
        Ok(vec![realm("eu", "Europe"), realm("us", "United States")])
    }

    async fn images(&self, login: &Login) -> Result<Vec<Image>, Error> {
        self.enter("images", login).await?;
        Ok(vec![image("img1", "x86_64", "fedoraproject"), image("img3", "i386", "mockuser")])
    }

    async fn image(&self, login: &Login, id: &str) -> Result<Option<Image>, Error> {
        Ok(self.images(login).await?.into_iter().find(|image| image.id == id))
    }

    async fn hardware_profiles(&self, _login: &Login) -> Result<Vec<HardwareProfile>, Error> {
        let fixed = |name, value: &str| Property { name, value: value.to_owned(), kind: PropertyKind::Fixed };
        let profile = |id: &str, properties| HardwareProfile { id: id.to_owned(), name: id.to_owned(), properties };
        let small = vec![fixed("cpu", "1"), fixed("memory", "1740.8"), fixed("architecture", "i386")];
        Ok(vec![profile("m1-small", small), profile("opaque", vec![])])
    }

    async fn create_instance(&self, login: &Login, new: &NewInstance) -> Result<Vec<Instance>, Error> {
        self.enter("create_instance", login).await?;
        if new.image == "unknown" {
            return Err(Error::new(Kind::Invalid, "There is no image unknown"));
        }
        self.created.lock().unwrap().push(new.clone());
        let mut instances = self.instances.lock().unwrap();
        let made: Vec<_> = (0..new.count)
            .map(|_| {
                let id = format!("inst{}", instances.len());
                let realm = new.realm.as_deref().unwrap_or("us");
                let made = Instance { name: new.name.clone(), ..instance(&id, &new.image, realm) };
                instances.push(made.clone());
                made
            })
            .collect();
        Ok(made)
    }

    async fn act(&self, login: &Login, id: &InstanceId, action: Action) -> Result<Option<Instance>, Error> {
        self.enter(action.as_str(), login).await?;
        let mut instances = self.instances.lock().unwrap();
        let place = instances.iter().position(|instance| instance.id == *id).expect("the API looked before it acted");
        let state = match action {
            Action::Destroy => {
                instances.remove(place);
                return Ok(None);
            }
            Action::Stop => InstanceState::Stopped,
            Action::Start | Action::Reboot => InstanceState::Running,
        };
        instances[place].state = state;
        instances[place].actions = MACHINE.actions(state);
        Ok(Some(instances[place].clone()))
    }
}
