using System.Text;
using System.Threading.Tasks;
using Nucleus;
using Nucleus.Unity;
using UnityEngine;

/// <summary>
/// A headset in a room: sends head and hands, shows the others, and greets them.
///
/// Put this on an empty object, and set the transforms of your rig (for example those of the XR Origin) and a
/// prefab with a Nucleus Avatar. Start a server with `nucleus serve`, and paste a token of `nucleus token` into
/// the field.
/// </summary>
public sealed class Headset : MonoBehaviour
{
    public string server = "127.0.0.1:5055";
    public string token = "";
    public string room = "demo";
    public Transform head;
    public Transform left;
    public Transform right;
    public NucleusAvatar avatarPrefab;
    public bool withVoice = true;

    NucleusSession session;

    /// <summary>The room's session.</summary>
    public NucleusSession Session
    {
        get { return session; }
    }

    void Start()
    {
        session = gameObject.AddComponent<NucleusSession>();
        session.server = server;
        session.token = token;
        session.roomName = room;
        session.connectOnStart = false;
        session.Connecting += OnConnecting;

        var own = gameObject.AddComponent<NucleusAvatar>();
        own.session = session;
        own.head = head;
        own.left = left;
        own.right = right;

        var avatars = gameObject.AddComponent<NucleusAvatars>();
        avatars.prefab = avatarPrefab;
        avatars.session = session;

        if (withVoice)
        {
            var voice = gameObject.AddComponent<NucleusVoice>();
            voice.avatars = avatars;
            voice.session = session;
        }
        session.Connect();
    }

    void OnConnecting(Room joining)
    {
        joining.PeerJoined += peer =>
        {
            Debug.Log(peer.Name + " is here");
            joining.Send("greeting", "welcome, " + peer.Name, To.Peer(peer));
        };
        joining.PeerLeft += (peer, reason) => Debug.Log(peer.Name + " has left");
        joining.On("greeting", (from, payload) => Debug.Log(Encoding.UTF8.GetString(payload)));
        joining.Interrupted += reason => Debug.Log("connection lost: " + reason);
        joining.Resumed += isLost => Debug.Log("connection is back");
        // Another peer may ask what this headset is.
        joining.Handle("device", request => Encoding.UTF8.GetBytes(SystemName()));
    }

    /// <summary>Asks a peer what its device is.</summary>
    public async Task<string> AskDeviceAsync(uint peer)
    {
        byte[] answer = await session.Room.RpcAsync(peer, "device", null);
        return Encoding.UTF8.GetString(answer);
    }

    static string SystemName()
    {
        return "Unity " + Application.unityVersion;
    }
}
