using System;
using System.Collections.Generic;
using System.Threading.Tasks;
using UnityEngine;

namespace Nucleus.Unity
{
    /// <summary>Makes objects of prefabs at all clients, as PhotonNetwork.Instantiate and Realtime.Instantiate
    /// do. The object's field "nucleus.prefab" names the prefab.</summary>
    [AddComponentMenu("Nucleus/Nucleus Objects")]
    public sealed class NucleusObjects : MonoBehaviour
    {
        const string PrefabKey = "nucleus.prefab";

        [Tooltip("The room.")]
        public NucleusSession session;
        [Tooltip("Prefabs with a Nucleus Object. All clients need the same list of names.")]
        public NucleusObject[] prefabs = new NucleusObject[0];

        NucleusSession attached;
        // Whose events this component gets. After a leave and a new join, the old room is closed later.
        Room followed;
        readonly Dictionary<ulong, NucleusObject> spawned = new Dictionary<ulong, NucleusObject>();

        /// <summary>An object was made.</summary>
        public event Action<NucleusObject> Spawned;

        /// <summary>Makes an object of a prefab at all clients. This client owns it.</summary>
        public async Task<NucleusObject> SpawnAsync(
            string prefab, Vector3 position, Quaternion rotation,
            IDictionary<string, Value> fields = null)
        {
            NucleusObject template = Find(prefab);
            if (template == null)
            {
                throw new ArgumentException("no prefab is called " + prefab, "prefab");
            }
            var at = new BodyTransform(ToOrigin(position), ToOrigin(rotation));
            var all = fields == null
                ? new Dictionary<string, Value>() : new Dictionary<string, Value>(fields);
            all[PrefabKey] = prefab;
            all[ObjectMotion.StoredKey] = ObjectMotion.Pack(at);
            RoomObject made = await session.Room.State.CreateAsync(
                template.ownership, template.staysWithRoom, all);
            return spawned[made.Id];
        }

        void OnEnable()
        {
            Attach();
        }

        void Update()
        {
            Attach();
        }

        void OnDisable()
        {
            if (attached == null)
            {
                return;
            }
            attached.Connecting -= OnConnecting;
            attached = null;
            Unfollow();
        }

        /// <summary>Follows the session. A script that adds this component sets the session after
        /// OnEnable.</summary>
        void Attach()
        {
            if (attached != null || session == null)
            {
                return;
            }
            attached = session;
            attached.Connecting += OnConnecting;
            if (attached.Room != null && attached.Status != SessionStatus.Closed)
            {
                OnConnecting(attached.Room);
                foreach (RoomObject existing in attached.Room.State.Objects)
                {
                    OnObjectCreated(existing);
                }
            }
        }

        void OnConnecting(Room room)
        {
            Unfollow();
            followed = room;
            room.State.ObjectCreated += OnObjectCreated;
            room.State.ObjectDeleted += OnObjectDeleted;
            room.Closed += OnClosed;
        }

        /// <summary>Lets go of the room before, and destroys its objects.</summary>
        void Unfollow()
        {
            if (followed != null)
            {
                followed.State.ObjectCreated -= OnObjectCreated;
                followed.State.ObjectDeleted -= OnObjectDeleted;
                followed.Closed -= OnClosed;
                followed = null;
            }
            DestroyAll();
        }

        void OnObjectCreated(RoomObject created)
        {
            string prefab = created.Fields[PrefabKey].AsText;
            NucleusObject template = prefab == null ? null : Find(prefab);
            if (template == null || spawned.ContainsKey(created.Id))
            {
                return;
            }
            NucleusObject made = Instantiate(template, transform);
            made.name = prefab + " " + created.Id;
            spawned[created.Id] = made;
            made.Bind(attached, created);
            Spawned?.Invoke(made);
        }

        void OnObjectDeleted(RoomObject deleted)
        {
            NucleusObject gone;
            if (spawned.TryGetValue(deleted.Id, out gone))
            {
                spawned.Remove(deleted.Id);
                if (gone != null)
                {
                    Destroy(gone.gameObject);
                }
            }
        }

        void OnClosed(Reason reason)
        {
            DestroyAll();
        }

        void DestroyAll()
        {
            foreach (NucleusObject gone in spawned.Values)
            {
                if (gone != null)
                {
                    Destroy(gone.gameObject);
                }
            }
            spawned.Clear();
        }

        NucleusObject Find(string prefab)
        {
            return Array.Find(prefabs, candidate => candidate.name == prefab);
        }

        Vec3 ToOrigin(Vector3 position)
        {
            Transform origin = session.origin;
            return (origin == null ? position : origin.InverseTransformPoint(position)).ToRoom();
        }

        Quat ToOrigin(Quaternion rotation)
        {
            Transform origin = session.origin;
            return (origin == null ? rotation : Quaternion.Inverse(origin.rotation) * rotation).ToRoom();
        }
    }
}
