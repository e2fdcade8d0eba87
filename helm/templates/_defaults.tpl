{{- /* The defaults of values.yaml, made from it by `make chart`: change that, not this. */ -}}
{{- define "catsdogs.defaults" -}}
{
 "nameOverride": [
  ""
 ],
 "fullnameOverride": [
  ""
 ],
 "commonLabels": [
  {}
 ],
 "commonAnnotations": [
  {}
 ],
 "image": {
  "repository": [
   "catsdogs-serve"
  ],
  "tag": [
   ""
  ],
  "digest": [
   ""
  ],
  "pullPolicy": [
   "IfNotPresent"
  ]
 },
 "imagePullSecrets": [
  []
 ],
 "replicas": [
  2
 ],
 "model": {
  "name": [
   "catsdogs"
  ],
  "source": [
   "image"
  ],
  "sha256": [
   ""
  ],
  "signature": {
   "publicKey": [
    ""
   ],
   "existingConfigMap": [
    ""
   ],
   "key": [
    "model.pub.pem"
   ]
  },
  "pvc": {
   "claimName": [
    ""
   ],
   "path": [
    "catsdogs.mar"
   ]
  },
  "http": {
   "url": [
    ""
   ],
   "existingSecret": [
    ""
   ],
   "key": [
    "header"
   ]
  },
  "s3": {
   "bucket": [
    ""
   ],
   "key": [
    ""
   ],
   "endpoint": [
    ""
   ],
   "region": [
    ""
   ],
   "existingSecret": [
    ""
   ]
  },
  "oci": {
   "reference": [
    ""
   ],
   "pullPolicy": [
    "IfNotPresent"
   ],
   "path": [
    "catsdogs.mar"
   ]
  },
  "cache": {
   "hostPath": [
    ""
   ],
   "claimName": [
    ""
   ]
  },
  "fetchSeconds": [
   600
  ],
  "maxMiB": [
   1024
  ],
  "resources": [
   {
    "requests": {
     "cpu": "500m",
     "memory": "256Mi"
    },
    "limits": {
     "cpu": "500m",
     "memory": "256Mi"
    }
   }
  ]
 },
 "canary": {
  "enabled": [
   false
  ],
  "replicas": [
   1
  ],
  "weight": [
   -1
  ],
  "watch": {
   "enabled": [
    false
   ],
   "seconds": [
    600
   ],
   "intervalSeconds": [
    30
   ],
   "prometheusUrl": [
    ""
   ],
   "selector": [
    ""
   ],
   "arguments": [
    []
   ]
  },
  "image": {
   "tag": [
    ""
   ],
   "digest": [
    ""
   ]
  },
  "model": {
   "sha256": [
    ""
   ],
   "pvc": {
    "claimName": [
     ""
    ],
    "path": [
     ""
    ]
   },
   "http": {
    "url": [
     ""
    ]
   },
   "s3": {
    "key": [
     ""
    ]
   },
   "oci": {
    "reference": [
     ""
    ]
   }
  }
 },
 "gpu": {
  "enabled": [
   true
  ],
  "checkNodes": [
   false
  ],
  "resourceName": [
   "nvidia.com/gpu"
  ],
  "count": [
   1
  ],
  "precision": [
   "fp16"
  ],
  "runtimeClassName": [
   ""
  ]
 },
 "runtime": [
  ""
 ],
 "precision": [
  ""
 ],
 "unsure": [
  false
 ],
 "torchserve": {
  "workers": [
   0
  ],
  "queue": [
   0
  ],
  "verbose": [
   false
  ],
  "resources": [
   {
    "requests": {
     "cpu": "4",
     "memory": "8Gi"
    },
    "limits": {
     "cpu": "4",
     "memory": "8Gi"
    }
   }
  ]
 },
 "gateway": {
  "drainSeconds": [
   10
  ],
  "graceSeconds": [
   20
  ],
  "corsOrigins": [
   []
  ],
  "allowedHosts": [
   []
  ],
  "accessLog": [
   false
  ],
  "stats": [
   false
  ],
  "publicMetrics": [
   false
  ],
  "tls": {
   "existingSecret": [
    ""
   ],
   "verify": [
    "ca"
   ],
   "serverName": [
    ""
   ]
  },
  "runAsUser": [
   10002
  ],
  "resources": [
   {
    "requests": {
     "cpu": "1",
     "memory": "512Mi"
    },
    "limits": {
     "cpu": "1",
     "memory": "512Mi"
    }
   }
  ]
 },
 "imageOperations": [
  false
 ],
 "feedback": {
  "enabled": [
   false
  ],
  "store": [
   "emptyDir"
  ],
  "pictures": [
   false
  ],
  "pvc": {
   "claimName": [
    ""
   ]
  },
  "s3": {
   "bucket": [
    ""
   ],
   "prefix": [
    "feedback"
   ],
   "endpoint": [
    ""
   ],
   "region": [
    ""
   ],
   "existingSecret": [
    ""
   ]
  },
  "signing": {
   "existingSecret": [
    ""
   ],
   "key": [
    "key"
   ]
  },
  "maxAgeHours": [
   24
  ],
  "maxPerSecond": [
   10
  ],
  "maxFiles": [
   10000
  ],
  "maxMiB": [
   1024
  ]
 },
 "run": {
  "medium": [
   "Memory"
  ],
  "sizeLimit": [
   "512Mi"
  ]
 },
 "auth": {
  "existingSecret": [
   ""
  ],
  "key": [
   "keys"
  ]
 },
 "service": {
  "type": [
   "ClusterIP"
  ],
  "annotations": [
   {}
  ],
  "ports": {
   "http": [
    8080
   ],
   "grpc": [
    7070
   ]
  },
  "nodePorts": {
   "http": [
    0
   ],
   "grpc": [
    0
   ]
  },
  "loadBalancerSourceRanges": [
   []
  ],
  "externalTrafficPolicy": [
   ""
  ],
  "internalTrafficPolicy": [
   ""
  ],
  "ipFamilyPolicy": [
   ""
  ],
  "ipFamilies": [
   []
  ]
 },
 "ingress": {
  "enabled": [
   false
  ],
  "className": [
   ""
  ],
  "annotations": [
   {}
  ],
  "hosts": [
   []
  ],
  "tls": [
   []
  ]
 },
 "httpRoute": {
  "enabled": [
   false
  ],
  "parentRefs": [
   []
  ],
  "hostnames": [
   []
  ],
  "annotations": [
   {}
  ]
 },
 "grpcRoute": {
  "enabled": [
   false
  ],
  "parentRefs": [
   []
  ],
  "hostnames": [
   []
  ],
  "annotations": [
   {}
  ]
 },
 "networkPolicy": {
  "enabled": [
   false
  ],
  "from": [
   []
  ],
  "monitoringNamespace": [
   ""
  ],
  "egress": [
   []
  ]
 },
 "metrics": {
  "scrapeAnnotations": [
   false
  ],
  "podMonitor": {
   "enabled": [
    false
   ],
   "interval": [
    ""
   ],
   "labels": [
    {}
   ]
  },
  "serviceMonitor": {
   "enabled": [
    false
   ],
   "interval": [
    ""
   ],
   "labels": [
    {}
   ]
  }
 },
 "sloProfile": [
  ""
 ],
 "monitoring": {
  "rules": {
   "enabled": [
    false
   ],
   "labels": [
    {}
   ],
   "selector": [
    ""
   ],
   "runbookUrl": [
    "docs/how-to/alerts.md"
   ]
  },
  "dashboard": {
   "enabled": [
    false
   ],
   "labels": [
    {
     "grafana_dashboard": "1"
    }
   ]
  }
 },
 "validation": {
  "enabled": [
   false
  ],
  "leastAccuracy": [
   0.85
  ],
  "claimName": [
   ""
  ],
  "path": [
   ""
  ],
  "seconds": [
   300
  ],
  "schedule": [
   ""
  ]
 },
 "drift": {
  "schedule": [
   ""
  ],
  "allowInconclusive": [
   true
  ]
 },
 "records": {
  "enabled": [
   false
  ],
  "claimName": [
   ""
  ]
 },
 "loadtest": {
  "enabled": [
   false
  ],
  "hook": [
   false
  ],
  "gate": [
   "quick"
  ],
  "slo": [
   {}
  ],
  "pods": [
   1
  ],
  "processes": [
   1
  ],
  "image": {
   "repository": [
    ""
   ],
   "tag": [
    ""
   ],
   "digest": [
    ""
   ]
  },
  "pictures": {
   "claimName": [
    ""
   ],
   "path": [
    ""
   ],
   "configMapName": [
    ""
   ],
   "items": [
    []
   ]
  },
  "resources": [
   {
    "requests": {
     "cpu": "1",
     "memory": "512Mi"
    },
    "limits": {
     "memory": "1Gi"
    }
   }
  ],
  "waitSeconds": [
   0
  ],
  "activeDeadlineSeconds": [
   7200
  ],
  "ttlSecondsAfterFinished": [
   86400
  ],
  "nodeSelector": [
   {}
  ],
  "tolerations": [
   []
  ],
  "affinity": [
   {}
  ]
 },
 "startupSeconds": [
  180
 ],
 "minReadySeconds": [
  5
 ],
 "terminationGracePeriodSeconds": [
  0
 ],
 "progressDeadlineSeconds": [
  0
 ],
 "revisionHistoryLimit": [
  5
 ],
 "strategy": [
  {}
 ],
 "autoscaling": {
  "type": [
   "none"
  ],
  "minReplicas": [
   2
  ],
  "maxReplicas": [
   6
  ],
  "metric": [
   "cpu"
  ],
  "cpuPercent": [
   120
  ],
  "requestsPerPod": [
   4
  ],
  "podsMetric": [
   "catsdogs_requests_in_pod"
  ],
  "prometheus": {
   "serverAddress": [
    ""
   ],
   "query": [
    ""
   ]
  },
  "scaleDownSeconds": [
   300
  ],
  "behavior": [
   {}
  ]
 },
 "pdb": {
  "enabled": [
   true
  ],
  "maxUnavailable": [
   1
  ]
 },
 "nodeSelector": [
  {}
 ],
 "tolerations": [
  []
 ],
 "affinity": [
  {}
 ],
 "topologySpreadConstraints": [
  [
   {
    "topologyKey": "kubernetes.io/hostname",
    "maxSkew": 1,
    "whenUnsatisfiable": "ScheduleAnyway"
   },
   {
    "topologyKey": "topology.kubernetes.io/zone",
    "maxSkew": 1,
    "whenUnsatisfiable": "ScheduleAnyway"
   }
  ]
 ],
 "priorityClassName": [
  ""
 ],
 "podSecurityContext": [
  {
   "runAsNonRoot": true,
   "runAsUser": 10001,
   "runAsGroup": 10001,
   "fsGroup": 10001,
   "fsGroupChangePolicy": "OnRootMismatch",
   "seccompProfile": {
    "type": "RuntimeDefault"
   }
  }
 ],
 "securityContext": [
  {
   "allowPrivilegeEscalation": false,
   "readOnlyRootFilesystem": true,
   "capabilities": {
    "drop": [
     "ALL"
    ]
   }
  }
 ],
 "serviceAccount": {
  "create": [
   false
  ],
  "name": [
   ""
  ],
  "annotations": [
   {}
  ]
 },
 "podLabels": [
  {}
 ],
 "podAnnotations": [
  {}
 ],
 "extraEnv": [
  []
 ],
 "extraVolumes": [
  []
 ],
 "extraVolumeMounts": [
  []
 ],
 "extraObjects": [
  []
 ]
}
{{- end -}}
