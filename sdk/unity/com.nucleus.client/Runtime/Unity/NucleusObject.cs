using System;
using System.Threading.Tasks;
using UnityEngine;

namespace Nucleus.Unity
{
    /// <summary>An object of the shared state, with owner, fields and, if wanted, a transform that follows its
    /// owner's. Give it a scene id if it is part of the scene. Otherwise <see cref="NucleusObjects"/> makes
    /// it.</summary>
    [AddComponentMenu("Nucleus/Nucleus Object")]
    public sealed class NucleusObject : MonoBehaviour
    {
        const float RestSeconds = 1;

        [Tooltip("The room.")]
        public NucleusSession session;
        [Tooltip("A number that no other object of the scene has. 0: made by Nucleus Objects.")]
        public uint sceneId;
        public ObjectOwnership ownership = ObjectOwnership.Take;
        [Tooltip("The object stays when its owner leaves.")]
        public bool staysWithRoom = true;
        [Tooltip("The owner sends the transform, and the others follow.")]
        public bool syncTransform = true;
        [Tooltip("Transforms a second while the object moves.")]
        [Range(1, 60)]
        public float sendRate = 20;

        ObjectMotion motion;
        BodyTransform sent;
        float nextSend;
        float movedAt;
        bool isStored = true;
        NucleusSession attached;
        // Whose events this component gets. After a leave and a new join, the old room is closed later.
        Room followed;

        /// <summary>The object; null until it is there.</summary>
        public RoomObject RoomObject { get; private set; }

        /// <summary>Whether this client owns the object.</summary>
        public bool IsMine
        {
            get { return RoomObject != null && !RoomObject.IsDeleted && RoomObject.IsMine; }
        }

        /// <summary>The object is there: add handlers to it.</summary>
        public event Action<RoomObject> Bound;

        /// <summary>A field has changed: its key, the old and the new value.</summary>
        public event Action<string, Value, Value> FieldChanged;

        /// <summary>Another peer owns the object, or nobody.</summary>
        public event Action OwnerChanged;

        /// <summary>Claims the object.</summary>
        public Task ClaimAsync()
        {
            return Needed().ClaimAsync();
        }

        /// <summary>Gives the object to a peer.</summary>
        public Task GiveAsync(uint peer)
        {
            return Needed().GiveAsync(peer);
        }

        /// <summary>Sets a field.</summary>
        public Task SetAsync(string key, Value value)
        {
            return Needed().SetAsync(key, value);
        }

        /// <summary>Connects this component with an object of the state.</summary>
        public void Bind(NucleusSession of, RoomObject bound)
        {
            Unbind();
            session = of;
            RoomObject = bound;
            motion = ObjectMotion.Of(bound.Room);
            motion.Add(bound.Id);
            bound.FieldChanged += OnFieldChanged;
            bound.OwnerChanged += OnOwnerChanged;
            bound.Deleted += OnDeleted;
            if (syncTransform)
            {
                ApplyStored(bound.Fields[ObjectMotion.StoredKey]);
            }
            sent = transform.ToRoom(session.origin);
            Bound?.Invoke(bound);
        }

        void OnEnable()
        {
            Attach();
        }

        void OnDisable()
        {
            if (attached != null)
            {
                attached.Connecting -= OnConnecting;
                attached.Joined -= OnJoined;
                attached = null;
                Unfollow();
            }
        }

        void OnDestroy()
        {
            Unbind();
        }

        /// <summary>Follows the session, if this object is part of the scene. A script that adds this component
        /// sets the session after OnEnable.</summary>
        void Attach()
        {
            if (attached != null || session == null || sceneId == 0)
            {
                return;
            }
            attached = session;
            attached.Connecting += OnConnecting;
            attached.Joined += OnJoined;
            if (attached.Room != null && attached.Status != SessionStatus.Closed)
            {
                OnConnecting(attached.Room);
            }
            if (attached.IsJoined)
            {
                OnJoined(attached.Room);
            }
        }

        void OnConnecting(Room room)
        {
            Unfollow();
            followed = room;
            room.State.ObjectCreated += OnObjectCreated;
            room.Rejoined += OnRejoined;
        }

        /// <summary>Lets go of the room before, and of its object.</summary>
        void Unfollow()
        {
            if (followed != null)
            {
                followed.State.ObjectCreated -= OnObjectCreated;
                followed.Rejoined -= OnRejoined;
                followed = null;
            }
            Unbind();
        }

        void OnRejoined()
        {
            // The room may be a new one, without the objects of the scene.
            OnJoined(followed);
        }

        void OnObjectCreated(RoomObject created)
        {
            if (created.Id == RoomState.SceneObjectId(sceneId))
            {
                Bind(session, created);
            }
        }

        async void OnJoined(Room room)
        {
            ulong id = RoomState.SceneObjectId(sceneId);
            RoomObject existing;
            if (room.State.TryGetObject(id, out existing))
            {
                if (RoomObject != existing)
                {
                    Bind(session, existing);
                }
                return;
            }
            try
            {
                await room.State.ChangeAsync(new Batch().Create(id, ownership, staysWithRoom));
            }
            catch (NucleusException exception)
            {
                // Usual: another client has created it. Its event binds this component.
                if (exception.Reason != ReasonCode.NoSuchEntity && exception.Reason != ReasonCode.Conflict)
                {
                    Debug.LogWarning("Nucleus: object " + sceneId + " of the scene: " + exception.Message);
                }
            }
            catch (ObjectDisposedException)
            {
                // The room was left.
            }
        }

        void Update()
        {
            Attach();
            if (!syncTransform || RoomObject == null || RoomObject.IsDeleted || !session.IsJoined || IsMine)
            {
                return;
            }
            BodyTransform shown;
            if (motion.TryGet(RoomObject.Id, out shown))
            {
                transform.Apply(shown, session.origin);
            }
        }

        /// <summary>After the Update of scripts, which move the object.</summary>
        void LateUpdate()
        {
            if (!syncTransform || !IsMine || !session.IsJoined || Time.unscaledTime < nextSend)
            {
                return;
            }
            nextSend = Time.unscaledTime + 1 / sendRate;
            BodyTransform now = transform.ToRoom(session.origin);
            if (ObjectMotion.HasMoved(sent, now))
            {
                sent = now;
                movedAt = Time.unscaledTime;
                isStored = false;
                motion.Send(RoomObject.Id, now);
            }
            else if (!isStored && Time.unscaledTime - movedAt > RestSeconds)
            {
                // Movement is not kept for those who join later. A field is.
                isStored = true;
                Store(RoomObject.SetAsync(ObjectMotion.StoredKey, ObjectMotion.Pack(now)));
            }
        }

        async void Store(Task stored)
        {
            try
            {
                await stored;
            }
            catch (Exception)
            {
                // The object was lost to another owner, or the session was. Tried again if it is still ours.
                isStored = false;
                movedAt = Time.unscaledTime;
            }
        }

        void ApplyStored(Value stored)
        {
            BodyTransform where;
            if (ObjectMotion.TryUnpack(stored.AsBytes, out where))
            {
                transform.Apply(where, session.origin);
            }
        }

        void OnFieldChanged(string key, Value old, Value now)
        {
            if (key != ObjectMotion.StoredKey)
            {
                FieldChanged?.Invoke(key, old, now);
            }
            else if (syncTransform && !IsMine && !motion.IsMoving(RoomObject.Id))
            {
                ApplyStored(now);
            }
        }

        void OnOwnerChanged(uint old, uint now)
        {
            // What the new owner moves begins where this client shows the object.
            sent = transform.ToRoom(session.origin);
            motion.Clear(RoomObject.Id);
            if (IsMine)
            {
                // The owner before may not have stored where the object came to rest.
                isStored = false;
                movedAt = Time.unscaledTime;
            }
            OwnerChanged?.Invoke();
        }

        void OnDeleted()
        {
            Unbind();
        }

        void Unbind()
        {
            if (RoomObject == null)
            {
                return;
            }
            RoomObject.FieldChanged -= OnFieldChanged;
            RoomObject.OwnerChanged -= OnOwnerChanged;
            RoomObject.Deleted -= OnDeleted;
            motion.Remove(RoomObject.Id);
            RoomObject = null;
        }

        RoomObject Needed()
        {
            if (RoomObject == null)
            {
                throw new InvalidOperationException("the object is not there yet: wait for Bound");
            }
            return RoomObject;
        }
    }
}
